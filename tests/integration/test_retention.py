"""``goalpost retention`` and ``goalpost erase`` on a real broker and database: what goes, what stays, what is said."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from goalpost.cli import main
from goalpost.cluster import records
from goalpost.retention.contact import by_email, by_phone, named
from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import WEB_SESSIONS
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import Session
from schemas.identity import session_key, visitor_key
from schemas.records import Incoming, Outgoing
from schemas.topics import RAW, SESSIONS
from sinks.postgres.writer import Writer
from tests.sink_material import Registered, conversion, fresh_database, opened, placed, register_webhook

NOW = datetime.now(UTC)
# Older than any other test's sessions, so that only this test's own are removed.
ANCIENT_DAYS = "19000"


@pytest.fixture
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


def _run(stack: Addresses, database: str, *arguments: str) -> dict[str, Any]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": database,
    }
    answer = CliRunner().invoke(main, [*arguments, "--json"], env=environment, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    content: dict[str, Any] = json.loads(answer.stdout)
    return content


def _asked(database: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def _stored(database: str, *, stage: str, days_ago: int, **over: Any) -> str:
    """A conversion that was received so many days ago and stands in ``stage``; returns its id."""
    status = {"stored": "pending", "failed": "error"}.get(stage, "sent")
    at = NOW - timedelta(days=days_ago)
    with opened(database) as connection, connection.transaction():
        registered: Registered = register_webhook(connection)
        one = conversion(registered, received_at=int(at.timestamp() * 1000), **over)
        Writer(connection).write(placed(one), [])
        connection.execute(
            "UPDATE webhook_conversions SET stage = %s, status = %s WHERE id = %s", (stage, status, one.event_id)
        )
    return one.event_id


def _send(stack: Addresses, *sessions: Session) -> None:
    codec = Registry(stack.schema_registry_url).codec(WEB_SESSIONS)
    sent = []
    for session in sessions:
        keys = [session_key(session.session_id), *([visitor_key(session.ym_uid)] if session.ym_uid else [])]
        sent += [Outgoing(topic=SESSIONS.name, key=key, value=codec.encode(session)) for key in keys]
    kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-retention")).send(sent)


def _session(session_id: str, ym_uid: str, *, at: int) -> Session:
    return Session(
        session_id=session_id,
        row_id=str(uuid.uuid4()),
        session_at=at,
        last_visit_at=at,
        received_at=at,
        creates_row=False,
        ym_uid=ym_uid,
    )


def _last_value(stack: Addresses, key: bytes) -> bytes | None:
    found = [one for one in records(stack.kafka_bootstrap_servers, [SESSIONS.name]) if one.key == key]
    return found[-1].value


def test_a_dry_run_counts_and_changes_nothing(stack: Addresses, database: str) -> None:
    _stored(database, stage="processed", days_ago=100)

    said = _run(stack, database, "retention", "--sessions-after", ANCIENT_DAYS)

    assert said["applied"] is False
    assert said["touched"]["webhook_conversions: personal data removed"] == 1
    assert _asked(database, "SELECT anonymised_at FROM webhook_conversions") == [(None,)]


def test_personal_data_goes_first_then_the_row_and_what_is_not_finished_stays(stack: Addresses, database: str) -> None:
    young = _stored(database, stage="processed", days_ago=10, client_id="1")
    middle = _stored(database, stage="not_linked", days_ago=100, client_id="2", order_id="o-2")
    _stored(database, stage="failed", days_ago=500, client_id="3")
    days = "INSERT INTO metrika_request_days (yandex_uid, day) SELECT '1', current_date - ago FROM unnest(%s) AS ago"
    _asked(database, f"{days} RETURNING day", [0, 399, 402])
    unfinished = _stored(database, stage="stored", days_ago=500, client_id="4")

    said = _run(stack, database, "retention", "--execute", "--batch", "1", "--sessions-after", ANCIENT_DAYS)

    left = _asked(database, "SELECT id::text, client_id, order_id, payload::text FROM webhook_conversions")
    assert {row[0]: row[1:] for row in left} == {
        young: ("1", None, '{"goal_name": "payment_success"}'),
        middle: (None, None, "{}"),
        unfinished: ("4", None, '{"goal_name": "payment_success"}'),
    }
    assert said["touched"]["webhook_conversions: rows deleted, with their audit trail"] == 1
    assert said["touched"]["metrika_request_days: rows deleted"] == 1
    assert _asked(database, "SELECT current_date - day FROM metrika_request_days ORDER BY 1") == [(0,), (399,)]
    kept = {row[0] for row in left}
    assert {str(row[0]) for row in _asked(database, "SELECT DISTINCT conversion_id FROM conversion_events")} <= kept


def test_the_audit_trail_refuses_everybody_else(database: str) -> None:
    _stored(database, stage="processed", days_ago=1)
    for statement in ("DELETE FROM conversion_events", "TRUNCATE conversion_events"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            _asked(database, statement)


def test_sessions_without_a_visit_are_removed_from_the_topic(stack: Addresses, database: str) -> None:
    ancient, recent, ym_uid = (str(uuid.uuid4()) for _ in range(3))
    _send(stack, _session(ancient, ym_uid, at=1))
    _send(stack, _session(recent, ym_uid, at=int(NOW.timestamp() * 1000)))

    said = _run(stack, database, "retention", "--execute", "--sessions-after", ANCIENT_DAYS)

    assert said["touched"]["web.sessions: keys removed"] >= 1
    assert _last_value(stack, session_key(ancient)) is None
    assert _last_value(stack, session_key(recent)) is not None
    assert _last_value(stack, visitor_key(ym_uid)) is not None


def test_an_erased_visitor_is_gone_from_everything_that_can_forget(stack: Addresses, database: str) -> None:
    session_id, other, ym_uid = f"s-{uuid.uuid4()}", f"s-{uuid.uuid4()}", str(uuid.uuid4().int)[:19]
    _send(stack, _session(session_id, ym_uid, at=1), _session(other, ym_uid, at=2))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO user_analytics (session_id, analytics_data) VALUES (%s, '{}'), ('another', '{}')",
            (session_id,),
        )
    uploaded = _stored(database, stage="uploaded", days_ago=1, client_id=ym_uid)
    waiting = _stored(database, stage="stored", days_ago=1, session_id=other)
    bystander = _stored(database, stage="stored", days_ago=1, client_id="7")

    looked = _run(stack, database, "erase", "--session-id", session_id, "--reason", "asked for it")
    done = _run(stack, database, "erase", "--session-id", session_id, "--reason", "asked for it", "--execute")

    assert looked["touched"] == done["touched"]
    assert done["touched"]["web.sessions: keys removed"] == 3
    for key in (session_key(session_id), session_key(other), visitor_key(ym_uid)):
        assert _last_value(stack, key) is None
    assert _asked(database, "SELECT session_id FROM user_analytics") == [("another",)]
    rows = _asked(database, "SELECT id::text, status, client_id, session_id, error_class FROM webhook_conversions")
    assert {row[0]: row[1:] for row in rows} == {
        uploaded: ("sent", None, None, None),
        waiting: ("error", None, None, "erased"),
        bystander: ("pending", "7", None, None),
    }
    assert ("erasure: asked for it",) in _asked(
        database, "SELECT reason FROM conversion_events WHERE conversion_id = %s ORDER BY id DESC", waiting
    )


def _letter(stack: Addresses, session_id: str) -> None:
    record = Incoming(
        topic=RAW.name, partition=0, offset=0, timestamp=1, key=session_key(session_id), value=b"", headers=()
    )
    reason = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.RESOLVE, message="no session")
    letter = letter_for(record, reason, topic=RAW.dead_letters, now_ms=1, letter_id=uuid.uuid4())
    kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-retention")).send([letter])


CONTACTS = (
    (by_email("Ivan.Petrov@Example.com"), {"deal": {"mail": " ivan.petrov@example.COM"}}),
    (by_phone("+7 (999) 123-45-67"), {"contact": [{"tel": ["8 999 123‑45‑67"]}]}),
    (by_phone("8 999 765 43 21"), {"phone": 79997654321}),
    (by_phone("+44 20 7946 0958"), {"phones": "1; 0044 2079460958"}),
)


def test_conversions_are_found_by_an_e_mail_or_a_phone_wherever_the_crm_put_it(database: str) -> None:
    expected = {
        contact.md5: {_stored(database, stage="stored", days_ago=1, payload=json.dumps(held))}
        for contact, held in CONTACTS
    }
    for contact, _ in CONTACTS:
        column = "phone_md5" if contact.is_phone else "email_md5"
        expected[contact.md5].add(_stored(database, stage="stored", days_ago=1, **{column: contact.md5}))
    _stored(database, stage="stored", days_ago=1, payload='{"mail": "x@example.com", "note": "not 89991234567 but"}')

    with opened(database) as connection:
        found = {contact.md5: set(named(connection, contact).event_ids) for contact, _ in CONTACTS}

    assert found == expected


def test_a_person_is_erased_by_a_phone_together_with_sessions_and_dead_letters(stack: Addresses, database: str) -> None:
    session_id, ym_uid = f"s-{uuid.uuid4()}", str(uuid.uuid4().int)[:19]
    _send(stack, _session(session_id, ym_uid, at=1))
    _letter(stack, session_id)
    contact, held = CONTACTS[1]
    _stored(database, stage="stored", days_ago=1, client_id=ym_uid, payload=json.dumps(held))
    _stored(database, stage="stored", days_ago=1, phone_md5=contact.md5)
    _stored(database, stage="stored", days_ago=1, client_id="7")

    done = _run(stack, database, "erase", "--phone", "89991234567", "--reason", "ticket 1", "--execute")
    again = _run(stack, database, "erase", "--ym-uid", ym_uid, "--reason", "ticket 1", "--execute")

    assert _asked(database, "SELECT client_id, phone_md5 FROM webhook_conversions WHERE status = 'pending'") == [
        ("7", None)
    ]
    assert _last_value(stack, session_key(session_id)) is None
    assert (done["touched"]["dead letters: discarded"], again["touched"]["dead letters: discarded"]) == (1, 0)


def test_what_is_no_phone_is_refused_without_being_quoted() -> None:
    answer = CliRunner().invoke(main, ["erase", "--phone", "12-34", "--reason", "ticket 1"])

    assert answer.exit_code == 2
    assert "--phone is no phone with its country code" in answer.output
    assert "12-34" not in answer.output


def test_rows_that_hold_json_as_text_are_erased_as_well(stack: Addresses, database: str) -> None:
    ym_uid, other = f"{uuid.uuid4().int}"[:19], f"{uuid.uuid4().int}"[:19]
    for data in (
        {"ids": {"ym_uid": ym_uid}},
        json.dumps({"ids": {"ym_uid": ym_uid}}),
        json.dumps({"ids": {"ym_uid": other}}),
        ym_uid,
    ):
        _asked(
            database,
            "INSERT INTO user_analytics (session_id, analytics_data) VALUES (%s, %s) RETURNING 1",
            str(uuid.uuid4()),
            json.dumps(data),
        )
    done = _run(stack, database, "erase", "--ym-uid", ym_uid, "--reason", "asked for it", "--apply")
    assert done["touched"]["user_analytics: rows deleted"] == 2
    assert len(_asked(database, "SELECT 1 FROM user_analytics")) == 2
