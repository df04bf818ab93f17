"""``goalpost trace`` on a real broker and database: whatever is asked for, the whole way is found."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from goalpost.cli import main
from goalpost.cluster import records
from goalpost.lineage.way import event_id_of
from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import RAW_EVENTS, WEBHOOK_CONFIGURATIONS
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import Conversion, RawEvent
from schemas.identity import event_id_for, letter_id_for, session_key
from schemas.records import Headers, Incoming, Outgoing
from schemas.topics import CONVERSIONS, RAW, REJECTED, SESSIONS, WAITING, WEBHOOKS
from sinks.postgres.writer import Writer
from tests.sink_material import conversion, fresh_database, opened, placed, register_webhook
from tests.unit.schemas.examples import examples, record_of

NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture(scope="module")
def sender(stack: Addresses) -> kafka.Sender:
    return kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-trace"))


def _trace(stack: Addresses, database: str, *arguments: str, **others: str) -> tuple[int, dict[str, Any]]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": database,
        **others,
    }
    answer = CliRunner().invoke(main, ["trace", "--json", *arguments], env=environment, catch_exceptions=False)
    content: dict[str, Any] = json.loads(answer.stdout)
    return answer.exit_code, content


def _event(**over: Any) -> RawEvent:
    example = next(example for example in examples("good_session") if example.topic == RAW.name)
    event: RawEvent = record_of(example)
    return replace(event, **{"event_id": str(uuid.uuid4()), "order_id": f"order-{uuid.uuid4()}", **over})


def _number() -> str:
    return str(uuid.uuid4().int)[:15]


def _stored(database: str, **over: Any) -> Conversion:
    with opened(database) as connection:
        stored = conversion(register_webhook(connection), received_at=NOW_MS, **over)
        Writer(connection).write(placed(stored))
    return stored


def _found(stack: Addresses, database: str, asked: str, **others: str) -> dict[str, Any]:
    code, content = _trace(stack, database, asked, **others)
    assert code == 0, content
    (way,) = content["events"]
    found: dict[str, Any] = way
    return found


def _raw_record(stack: Addresses, event: RawEvent) -> Outgoing:
    value = Registry(stack.schema_registry_url).codec(RAW_EVENTS).encode(event)
    headers = (("event_id", event.event_id.encode()), ("webhook_id", event.webhook_id.encode()))
    return Outgoing(topic=RAW.name, key=event.event_id.encode(), value=value, headers=headers)


def _waiting(raw: Outgoing, *, attempt: int) -> Outgoing:
    headers: Headers = (("waiting.attempt", str(attempt).encode()), ("waiting.due", str(NOW_MS + 60_000).encode()))
    return replace(raw, topic=WAITING.name, headers=raw.headers + headers)


def test_an_event_that_waits_is_found_by_its_id_and_by_its_order(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    event = _event()
    raw = _raw_record(stack, event)
    sender.send([raw])
    sender.send([_waiting(raw, attempt=1)])

    for asked in (event.event_id, str(event.order_id)):
        code, found = _trace(stack, database, asked)
        (way,) = found["events"]
        assert code == 0
        assert (way["event_id"], way["state"]) == (event.event_id, "waiting")
        assert [step["what"] for step in way["steps"]] == ["received", "waiting"]


def test_a_dead_letter_of_an_order_is_found(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    event = _event()
    raw = _raw_record(stack, event)
    record = Incoming(
        topic=RAW.name, partition=1, offset=2, timestamp=NOW_MS, key=raw.key, value=raw.value, headers=raw.headers
    )
    reason = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="no session came")
    sender.send([letter_for(record, reason, topic=RAW.dead_letters, now_ms=NOW_MS, letter_id=uuid.uuid4())])

    _code, found = _trace(stack, database, str(event.order_id))

    (way,) = found["events"]
    assert way["state"] == "dead_lettered"
    assert way["steps"][-1]["detail"] == "session_not_found at join: no session came"


def test_a_stored_event_is_found_by_id_order_upload_and_token(stack: Addresses, database: str) -> None:
    upload, metrika_id = uuid.uuid4(), str(uuid.uuid4().int)[:10]
    token = f"goalpost{upload.hex}"
    with opened(database) as connection:
        stored = conversion(register_webhook(connection), order_id=f"order-{upload}", received_at=NOW_MS)
        Writer(connection).write(placed(stored))
        connection.execute(
            """
            INSERT INTO metrika_uploads (id, counter_id, id_type, token, state, row_count, body_sha256,
                                         metrika_upload_id, line_quantity, linked_quantity)
            VALUES (%s, %s, 'ClientId', %s, 'processed', 1, '', %s, 1, 1)
            """,
            (upload, stored.counter_id, token, metrika_id),
        )
        for stage, status, known_as in (
            ("batched", "pending", None),
            ("uploaded", "sent", metrika_id),
            ("processed", "sent", metrika_id),
        ):
            connection.execute(
                """
                UPDATE webhook_conversions SET stage = %s, status = %s, metrika_upload_id = %s, upload = %s
                WHERE id = %s
                """,
                (stage, status, known_as, upload, stored.event_id),
            )

    for asked in (stored.event_id, stored.order_id, metrika_id, token, str(upload)):
        code, found = _trace(stack, database, str(asked))
        (way,) = found["events"]
        assert code == 0, asked
        assert (way["event_id"], way["state"]) == (stored.event_id, "processed")
        assert [step["what"] for step in way["steps"]][-3:] == ["batched", "uploaded", "processed"]
        assert way["row"]["upload"]["metrika_upload_id"] == metrika_id


def test_what_nobody_knows_is_said_to_be_unknown(stack: Addresses, database: str) -> None:
    code, found = _trace(stack, database, str(uuid.uuid4()))

    assert (code, found["events"]) == (1, [])


def test_the_search_is_bounded_by_since(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    event = _event()
    sender.send([_raw_record(stack, event)])

    _code, found = _trace(stack, database, event.event_id, "--since", "2100-01-01")

    assert found["events"] == []


# Nobody listens there.
GONE = {
    "postgres": {"DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"},
    "kafka": {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
    "registry": {"SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("gone", [("kafka",), ("registry",), ("kafka", "registry")], ids="+".join)
def test_what_postgres_knows_is_shown_whoever_else_is_away(
    stack: Addresses, database: str, gone: tuple[str, ...]
) -> None:
    stored = _stored(database, order_id=f"order-{uuid.uuid4()}")
    others = {name: value for one in gone for name, value in GONE[one].items()}

    code, found = _trace(stack, database, stored.event_id, **others)

    assert code == 0
    assert [(one["event_id"], one["state"]) for one in found["events"]] == [(stored.event_id, "stored")]
    # The registry is not needed for what is stored, so nothing is missing without it.
    assert [one["what"] for one in found["not_asked"]] == [one for one in gone if one == "kafka"]


@pytest.mark.parametrize("gone", ["kafka", "postgres"])
def test_where_somebody_could_not_be_asked_nothing_is_said_to_be_unknown(
    stack: Addresses, database: str, gone: str
) -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": database,
        **GONE[gone],
    }

    answer = CliRunner().invoke(main, ["trace", str(uuid.uuid4())], env=environment, catch_exceptions=False)

    assert answer.exit_code == 2
    assert "Nothing is known" not in answer.stdout
    assert "could not be asked" in answer.stdout


def test_what_the_topics_know_is_shown_without_postgres(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    event = _event()
    sender.send([_raw_record(stack, event)])

    code, found = _trace(stack, database, str(event.order_id), **GONE["postgres"])

    assert (code, found["events"][0]["event_id"]) == (0, event.event_id)
    assert [one["what"] for one in found["not_asked"]] == ["postgres"]


def test_an_order_in_a_topic_is_recognised_without_the_registry(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    event = _event()
    sender.send([_raw_record(stack, event)])

    code, found = _trace(stack, database, str(event.order_id), **GONE["registry"])

    assert (code, found["events"][0]["event_id"]) == (0, event.event_id)
    assert [one["what"] for one in found["not_asked"]] == ["registry"]


@pytest.mark.parametrize("silent", ["kafka", "registry", "postgres"])
def test_a_server_that_takes_connections_and_never_answers_is_not_waited_for_long(
    stack: Addresses, database: str, sender: kafka.Sender, silent: str
) -> None:
    stored = _stored(database, order_id=f"order-{uuid.uuid4()}")
    event = _event(order_id=stored.order_id)
    sender.send([_waiting(_raw_record(stack, event), attempt=1)])
    with closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        others = {
            "kafka": {"KAFKA_BOOTSTRAP_SERVERS": address},
            "registry": {"SCHEMA_REGISTRY_URL": f"http://{address}"},
            "postgres": {"DATABASE_URL": f"postgresql://x@{address}/x"},
        }[silent]
        began = time.monotonic()
        code, found = _trace(stack, database, str(stored.order_id), **others)

    assert code == 0
    expected = {"kafka": {stored.event_id}, "postgres": {event.event_id}}
    assert {one["event_id"] for one in found["events"]} == expected.get(silent, {stored.event_id, event.event_id})
    assert [one["what"] for one in found["not_asked"]] == [silent]
    assert time.monotonic() - began < 60


def test_an_event_of_an_order_that_waits_is_found_beside_one_that_is_stored(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    stored = _stored(database, order_id=f"order-{uuid.uuid4()}")
    event = _event(order_id=stored.order_id)
    sender.send([_waiting(_raw_record(stack, event), attempt=1)])

    _code, found = _trace(stack, database, str(stored.order_id))

    assert {one["event_id"]: one["state"] for one in found["events"]} == {
        stored.event_id: "stored",
        event.event_id: "waiting",
    }


def test_a_stored_event_is_found_by_session_visitor_and_click(stack: Addresses, database: str) -> None:
    ids = {"session_id": str(uuid.uuid4()), "client_id": _number(), "yclid": _number()}
    stored = _stored(database, **ids)

    for asked in (*ids.values(), f"s:{ids['session_id']}", f"u:{ids['client_id']}"):
        assert _found(stack, database, asked)["event_id"] == stored.event_id


def test_an_event_that_is_not_stored_is_found_by_session_visitor_and_click(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    event = _event(session_id=str(uuid.uuid4()), ym_uid=_number(), yclid=_number())
    sender.send([_waiting(_raw_record(stack, event), attempt=1)])

    for asked in (event.session_id, event.ym_uid, event.yclid):
        assert _found(stack, database, str(asked))["event_id"] == event.event_id


@pytest.mark.parametrize(("written", "spelling"), [("{}", "DEAL_{}"), ("{}", "D_{}"), ("LEAD_{}", "{}"), ("{}", "#{}")])
def test_a_deal_or_lead_is_found_by_its_number_and_by_its_name(
    stack: Addresses, database: str, sender: kafka.Sender, written: str, spelling: str
) -> None:
    kept, waits = _number(), _number()
    stored = _stored(database, order_id=written.format(kept))
    event = _event(order_id=written.format(waits))
    sender.send([_waiting(_raw_record(stack, event), attempt=1)])

    assert _found(stack, database, spelling.format(kept))["event_id"] == stored.event_id
    assert _found(stack, database, spelling.format(waits))["event_id"] == event.event_id


def test_the_senders_own_id_finds_what_was_made_of_it(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    own = f"crm-{uuid.uuid4()}"
    with opened(database) as connection:
        registered = register_webhook(connection)
        event_id = event_id_for(registered.webhook_id, f"event_id:{own}")
        Writer(connection).write(placed(conversion(registered, event_id=event_id)))

    assert _found(stack, database, own)["event_id"] == event_id


def test_the_senders_own_id_finds_it_also_where_only_kafka_answers(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    example = next(example for example in examples("good_with_rules") if example.topic == WEBHOOKS.name)
    webhook = replace(record_of(example), webhook_id=str(uuid.uuid4()))
    value = Registry(stack.schema_registry_url).codec(WEBHOOK_CONFIGURATIONS).encode(webhook)
    own = f"crm-{uuid.uuid4()}"
    event = _event(event_id=event_id_for(webhook.webhook_id, f"delivery:{own}"), webhook_id=webhook.webhook_id)
    sender.send([Outgoing(topic=WEBHOOKS.name, key=webhook.webhook_id.encode(), value=value)])
    sender.send([_raw_record(stack, event)])

    assert _found(stack, database, own, **GONE["postgres"])["event_id"] == event.event_id


def _dead(stack: Addresses, event: RawEvent, *, offset: int) -> tuple[str, Outgoing]:
    raw = _raw_record(stack, event)
    record = Incoming(
        topic=RAW.name, partition=1, offset=offset, timestamp=NOW_MS, key=raw.key, value=raw.value, headers=raw.headers
    )
    reason = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="no session came")
    letter_id = letter_id_for(record)
    return str(letter_id), letter_for(record, reason, topic=RAW.dead_letters, now_ms=NOW_MS, letter_id=letter_id)


def test_a_letters_id_leads_to_its_event(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    event = _event()
    letter_id, letter = _dead(stack, event, offset=int(_number()))
    sender.send([letter])

    way = _found(stack, database, letter_id)

    assert (way["event_id"], way["state"]) == (event.event_id, "dead_lettered")


def test_a_kept_body_is_found_by_its_letters_id_its_place_and_what_stands_in_it(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    order, letter_id = f"INV-{uuid.uuid4()}", str(uuid.uuid4())
    headers: Headers = (
        ("dlq.id", letter_id.encode()),
        ("dlq.error.class", b"body_unparseable"),
        ("dlq.stage", b"parse"),
    )
    sender.send([Outgoing(topic=REJECTED.name, key=b"w", value=f"number={order}&x".encode(), headers=headers)])

    by_id = _found(stack, database, letter_id)
    assert (by_id["event_id"], by_id["state"]) == ("", "dead_lettered")
    for asked in (by_id["steps"][0]["where"], order):
        assert _found(stack, database, asked)["steps"] == by_id["steps"]


def _place_of(stack: Addresses, topic: str, event_id: str) -> str:
    found = (one for one in records(stack.kafka_bootstrap_servers, [topic]) if event_id_of(one) == event_id)
    record = next(found)
    return f"{topic}:{record.partition}:{record.offset}"


@pytest.mark.parametrize("topic", [RAW.name, WAITING.name, RAW.dead_letters])
def test_a_place_in_a_topic_leads_to_the_event_of_the_record_there(
    stack: Addresses, database: str, sender: kafka.Sender, topic: str
) -> None:
    event = _event()
    raw = _raw_record(stack, event)
    dead = _dead(stack, event, offset=int(_number()))[1]
    sender.send([{RAW.name: raw, WAITING.name: _waiting(raw, attempt=1)}.get(topic, dead)])

    assert _found(stack, database, _place_of(stack, topic, event.event_id))["event_id"] == event.event_id


def test_a_place_in_web_sessions_leads_to_the_events_of_that_session(
    stack: Addresses, database: str, sender: kafka.Sender
) -> None:
    session_id = str(uuid.uuid4())
    stored = _stored(database, session_id=session_id)
    sender.send([Outgoing(topic=SESSIONS.name, key=session_key(session_id), value=b"x")])
    found = (one for one in records(stack.kafka_bootstrap_servers, [SESSIONS.name]))
    record = next(one for one in found if one.key == session_key(session_id))

    asked = f"{SESSIONS.name}:{record.partition}:{record.offset}"
    assert _found(stack, database, asked)["event_id"] == stored.event_id


@pytest.mark.parametrize("topic", [RAW.name, CONVERSIONS.name])
@pytest.mark.parametrize("kafka_gone", [False, True])
def test_a_place_whose_record_is_gone_is_known_to_postgres(
    stack: Addresses, database: str, topic: str, kafka_gone: bool
) -> None:
    stored = _stored(database, raw_partition=2, raw_offset=int(_number()))
    with opened(database) as connection:
        row = connection.execute(
            "SELECT raw_partition, raw_offset, conversion_partition, conversion_offset FROM webhook_conversions "
            "WHERE id = %s",
            (stored.event_id,),
        ).fetchone()
    assert row is not None
    partition, offset = row[:2] if topic == RAW.name else row[2:]
    if topic == CONVERSIONS.name:  # as it is once retention has removed the record
        offset = int(_number())
        with opened(database) as connection:
            connection.execute(
                "UPDATE webhook_conversions SET conversion_offset = %s WHERE id = %s", (offset, stored.event_id)
            )

    way = _found(stack, database, f"{topic}:{partition}:{offset}", **(GONE["kafka"] if kafka_gone else {}))

    assert way["event_id"] == stored.event_id


def test_a_place_at_which_nothing_ever_stood_is_said_to_be_that(stack: Addresses, database: str) -> None:
    code, found = _trace(stack, database, f"{RAW.name}:1:{10**12}")

    assert (code, found["events"]) == (1, [])
    assert "has no offset" in found["remark"] or "is empty" in found["remark"]


def test_what_was_not_taken_as_it_was_sent_is_told(stack: Addresses, database: str, sender: kafka.Sender) -> None:
    notes = "the time is in the future: the receive time stands; ym_uid is there and is no id"
    stored = _stored(database, notes=notes)
    event = _event(notes=notes)
    sender.send([_waiting(_raw_record(stack, event), attempt=1)])

    for event_id in (stored.event_id, event.event_id):
        assert _found(stack, database, event_id)["notes"] == notes.split("; ")


def test_a_reading_that_takes_too_long_is_ended_and_said(
    stack: Addresses, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goalpost.lineage.reading.time.monotonic", iter(range(0, 10**9, 10**6)).__next__)

    code, found = _trace(stack, database, str(uuid.uuid4()), "--within", "1")

    assert code == 2
    assert "--within" in found["not_asked"][0]["why"]
