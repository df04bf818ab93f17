"""Every move between two standings of a conversion, by its owner and by a plain role: as docs/moves.md says."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from goalpost.retention.policy import LONGEST_TOPIC_DAYS
from sandbox.stack import Addresses
from sinks.metrika.ledger import State
from tests.sink_material import Registered, fresh_database, opened, register_webhook

_ROOT: Final = Path(__file__).parents[2]
# Stage and status of each standing.
STANDINGS: Final = {
    "other": (None, "pending"),
    "other (sent)": (None, "sent"),
    "stored": ("stored", "pending"),
    "stored (out)": ("stored", "error"),
    "stored (sent)": ("stored", "sent"),
    "batched": ("batched", "pending"),
    "uploaded": ("uploaded", "sent"),
    "processed": ("processed", "sent"),
    "not_linked": ("not_linked", "sent"),
    "failed": ("failed", "error"),
}
IN_FILE: Final = {"batched", "uploaded", "processed", "not_linked"}
STAGES: Final = [None, "stored", "batched", "uploaded", "processed", "not_linked", "failed"]
# From these on Metrika has the conversion, or may have it.
TAKEN: Final = ("uploaded", "processed", "not_linked", "stored (sent)")


def documented() -> dict[tuple[str, str], str]:
    """The moves of docs/moves.md: from and to, and under which condition."""
    text = (_ROOT / "docs" / "moves.md").read_text(encoding="utf-8")
    table = text.split("| from | to | only | why |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert all(why for *_, why in rows)
    return {(start, end): only for start, end, only, _ in rows}


MOVES: Final = documented()


@dataclass(kw_only=True)
class Desk:
    """A database with every right of its owner, and a plain role that may write all of its tables."""

    url: str
    role: str
    registered: Registered
    connection: psycopg.Connection[Any]

    def upload(self, state: str = "rejected", **over: Any) -> str:
        """A file in the ledger."""
        upload = str(uuid.uuid4())
        values = {"maybe_taken": False, "sha": "x", "days": 0, **over}
        self.connection.execute(
            """
            INSERT INTO metrika_uploads (id, counter_id, id_type, token, state, row_count, body_sha256, maybe_taken,
                                         prepared_at)
            VALUES (%s, %s, 'ClientId', %s, %s, 1, %s, %s, now() - make_interval(days => %s))
            """,
            (
                upload,
                self.registered.counter_id,
                f"t{upload}",
                state,
                *(values[n] for n in ("sha", "maybe_taken", "days")),
            ),
        )
        return upload

    def row(self, standing: str, *, upload: str | None = None, days: int = 0, **over: Any) -> str:
        """A conversion that stands there, however it came to."""
        stage, status = STANDINGS[standing]
        event_id = str(uuid.uuid4())
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            self.connection.execute(
                """
                INSERT INTO webhook_conversions (id, webhook_id, counter_id, payload, status, stage, client_id, target,
                                                 price, currency, occurred_at, order_id, upload, upload_line,
                                                 upload_second, received_at)
                VALUES (%s, %s, %s, '{}', %s, %s, '17', 'sale', 5, 'RUB', now(), 'o-1', %s, %s, 1,
                        now() - make_interval(days => %s))
                """,
                (
                    *(event_id, self.registered.webhook_id, self.registered.counter_id, status, stage),
                    *(upload, None if upload is None else 1, days),
                ),
            )
            for column, value in over.items():
                query = sql.SQL("UPDATE webhook_conversions SET {} = %s WHERE id = %s").format(sql.Identifier(column))
                self.connection.execute(query, (value, event_id))
        return event_id

    def refusal(self, statement: str, *values: Any, role: str | None = None, settings: str = "") -> str | None:
        """What the database says against a statement that is then taken back; ``None`` if it is allowed."""
        with self.connection.transaction(force_rollback=True):
            if role is not None:
                self.connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            if settings:
                self.connection.execute(f"SET LOCAL {settings} = 'on'".encode())
            try:
                with self.connection.transaction():
                    touched = self.connection.execute(statement.encode(), values).rowcount
            except psycopg.errors.CheckViolation as exc:
                return str(exc)
            except psycopg.errors.RaiseException as exc:
                return str(exc)
            assert touched != 0, "nothing was there to be refused"
            return None

    def move(self, event_id: str, end: str, *, upload: str | None, role: str | None) -> str | None:
        """What the database says against a move."""
        stage, status = STANDINGS[end]
        goes_out = end.startswith(("stored", "other"))
        return self.refusal(
            "UPDATE webhook_conversions SET stage = %s, status = %s, upload = %s, upload_line = %s WHERE id = %s",
            *(stage, status, None if goes_out else upload, None if goes_out or upload is None else 1, event_id),
            role=role,
        )


@pytest.fixture(scope="module")
def desk(stack: Addresses) -> Iterator[Desk]:
    role = f"console_{uuid.uuid4().hex[:12]}"
    with fresh_database(stack.database_url) as url:
        with opened(url) as connection:
            registered = register_webhook(connection)
        with psycopg.connect(url, autocommit=True) as owner:
            name = sql.Identifier(role)
            owner.execute(sql.SQL("CREATE ROLE {} BYPASSRLS").format(name))
            rights = "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {} TO {}"
            for table in ("webhook_conversions", "metrika_uploads", "conversion_events", "outcome_outbox"):
                owner.execute(sql.SQL(rights).format(sql.Identifier(table), name))
            yield Desk(url=url, role=role, registered=registered, connection=owner)
            owner.execute(sql.SQL("DROP OWNED BY {}").format(name))
            owner.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture(params=["owner", "console"])
def role(request: pytest.FixtureRequest, desk: Desk) -> str | None:
    return None if request.param == "owner" else desk.role


@pytest.mark.parametrize(("start", "end"), list(product(STANDINGS, STANDINGS)), ids=str)
def test_every_move_is_allowed_for_a_stated_reason_or_refused_with_a_sentence(
    desk: Desk, role: str | None, start: str, end: str
) -> None:
    condition = MOVES.get((start, end), "" if start == end else None)
    for state in State:
        upload = desk.upload(state) if start in IN_FILE | {"failed"} or end in IN_FILE else None
        event_id = desk.row(start, upload=upload if start in IN_FILE | {"failed"} else None)
        said = desk.move(event_id, end, upload=upload, role=role)
        allowed = condition == "" or (condition is not None and state is State.REJECTED)
        assert (said is None) == allowed, f"{start} to {end} of a file that is {state}: {said}"
        if said is not None and start not in ("other", "other (sent)") and "check constraint" not in said:
            assert re.search(rf"conversion {event_id}: .* does not become .*: .{{15,}}; .{{10,}}", said), said


@pytest.mark.parametrize("start", TAKEN)
def test_what_metrika_has_never_becomes_uploadable(desk: Desk, role: str | None, start: str) -> None:
    """Of all moves that the list allows there is no way from there to a file."""
    reached, new = {start}, {start}
    while new:
        new = {end for (begin, end) in MOVES if begin in reached} - reached
        reached |= new
    assert not reached & {"stored", "stored (out)", "batched"}
    assert desk.move(desk.row(start), "stored", upload=None, role=role) is not None


@pytest.mark.parametrize(("stage", "status"), list(product(STAGES[1:], ["pending", "sent", "error"])))
def test_only_the_listed_pairs_of_status_and_stage_exist(desk: Desk, role: str | None, stage: str, status: str) -> None:
    said = desk.refusal(
        """
        INSERT INTO webhook_conversions (webhook_id, counter_id, payload, status, stage, upload)
        VALUES (%s, %s, '{}', %s, %s, %s)
        """,
        *(desk.registered.webhook_id, desk.registered.counter_id, status, stage),
        *(desk.upload() if stage == "batched" else None,),
        role=role,
    )
    assert (said is None) == ((stage, status) in STANDINGS.values() and stage != "batched")


CONTENT: Final[dict[str, Any]] = {
    "client_id": "18",
    "yclid": "1",
    "user_id": "u",
    "purchase_id": "p",
    "email_md5": "e",
    "phone_md5": "f",
    "order_id": "o-2",
    "target": "other",
    "price": 6,
    "currency": "USD",
    "occurred_at": "2025-01-01",
    "upload_second": 2,
    "upload_line": 2,
    "id": "6b1f6c1c-4f5e-4a53-9d0e-1a2b3c4d5e6f",
}


@pytest.mark.parametrize("column", CONTENT)
@pytest.mark.parametrize("start", sorted(IN_FILE))
def test_what_metrika_was_sent_does_not_change(desk: Desk, role: str | None, start: str, column: str) -> None:
    event_id = desk.row(start, upload=desk.upload("prepared" if start == "batched" else "accepted"))
    said = desk.refusal(
        f"UPDATE webhook_conversions SET {column} = %s WHERE id = %s", CONTENT[column], event_id, role=role
    )
    assert said is not None
    assert str(event_id) in said


@pytest.mark.parametrize("start", ["batched", "uploaded", "processed"])
@pytest.mark.parametrize("upload", [None, "another"])
def test_a_row_stays_in_its_file(desk: Desk, role: str | None, start: str, upload: str | None) -> None:
    event_id = desk.row(start, upload=desk.upload("accepted"))
    other = None if upload is None else desk.upload("prepared")
    said = desk.refusal("UPDATE webhook_conversions SET upload = %s WHERE id = %s", other, event_id, role=role)
    assert said is not None


def test_what_is_no_part_of_an_upload_may_be_written(desk: Desk, role: str | None) -> None:
    for start in ("uploaded", "processed", "not_linked", "failed"):
        event_id = desk.row(start, upload=desk.upload("rejected" if start == "failed" else "accepted"))
        statement = """
            UPDATE webhook_conversions SET session_id = 's', analytics_row_id = 'r', goal_appended = TRUE, notes = 'n',
                   session_missing = FALSE, deadline_at = now(), payload = '{"a": 1}', error_message = 'm' WHERE id = %s
        """
        assert desk.refusal(statement, event_id, role=role) is None


def test_a_visitor_is_forgotten_whole_and_not_in_the_middle_of_an_upload(desk: Desk, role: str | None) -> None:
    forget = """
        UPDATE webhook_conversions SET client_id = NULL, order_id = NULL{}, anonymised_at = now() WHERE id = %s
    """
    for start in ("uploaded", "processed", "not_linked", "failed"):
        assert desk.refusal(forget.format(""), desk.row(start, upload=desk.upload()), role=role) is None
    assert desk.refusal(forget.format(""), desk.row("batched", upload=desk.upload("prepared")), role=role) is not None
    half = forget.format(", yclid = '5'")
    assert desk.refusal(half, desk.row("uploaded", upload=desk.upload("accepted")), role=role) is not None


def test_one_that_names_nobody_any_more_is_not_replayed(desk: Desk, role: str | None) -> None:
    event_id = desk.row("failed", anonymised_at="2025-01-01")
    said = desk.move(event_id, "stored", upload=None, role=role)
    assert said is not None
    assert "names no visitor" in said


@pytest.mark.parametrize("state", [*State, None])
def test_a_file_that_only_the_audit_trail_remembers_counts(desk: Desk, role: str | None, state: State | None) -> None:
    event_id = desk.row("failed")
    upload = str(uuid.uuid4()) if state is None else desk.upload(state)
    desk.connection.execute(
        "INSERT INTO conversion_events (conversion_id, status, upload) VALUES (%s, 'pending', %s)", (event_id, upload)
    )
    said = desk.move(event_id, "stored", upload=None, role=role)
    assert (said is None) == (state is State.REJECTED)


@pytest.mark.parametrize("start", STANDINGS)
@pytest.mark.parametrize("days", [1, LONGEST_TOPIC_DAYS + 1])
@pytest.mark.parametrize("settings", ["", "goalpost.retention"])
def test_a_row_that_makes_a_repeat_harmless_is_deleted_by_retention_only_and_when_it_is_old(
    desk: Desk, role: str | None, start: str, days: int, settings: str
) -> None:
    upload = desk.upload("accepted") if start in IN_FILE else None
    event_id = desk.row(start, upload=upload, days=days)
    said = desk.refusal("DELETE FROM webhook_conversions WHERE id = %s", event_id, role=role, settings=settings)
    harmless = start in ("other", "other (sent)", "stored", "stored (out)", "failed")
    by_retention = settings and days > LONGEST_TOPIC_DAYS and role is None
    assert (said is None) == (harmless or bool(by_retention)), said


def test_a_failed_row_is_not_deleted_while_one_of_its_files_may_have_arrived(desk: Desk, role: str | None) -> None:
    for state in State:
        event_id = desk.row("failed", upload=desk.upload(state))
        said = desk.refusal("DELETE FROM webhook_conversions WHERE id = %s", event_id, role=role)
        assert (said is None) == (state is State.REJECTED)


@pytest.mark.parametrize("tables", ["webhook_conversions", "metrika_uploads, webhook_conversions", "conversion_events"])
def test_nothing_is_emptied(desk: Desk, role: str | None, tables: str) -> None:
    desk.row("processed", upload=desk.upload("processed"))
    assert desk.refusal(f"TRUNCATE {tables}", role=role) is not None


# From a state to another: who may say so. Whatever is not here nobody may.
UPLOAD_MOVES: Final = {
    **dict.fromkeys(product(["prepared"], ["sending", "unknown", "accepted", "rejected"]), "anybody"),
    **dict.fromkeys(product(["sending", "unknown"], ["sending", "unknown", "accepted"]), "anybody"),
    **dict.fromkeys(product(["sending", "unknown"], ["prepared", "rejected"]), "uploader"),
    **dict.fromkeys(product(["accepted"], ["processed", "linkage_failure"]), "anybody"),
}


@pytest.mark.parametrize(("start", "end"), list(product(State, State)))
@pytest.mark.parametrize("settings", ["", "goalpost.uploader"])
def test_an_upload_goes_its_way_once_and_only_the_uploader_says_that_it_did_not_arrive(
    desk: Desk, role: str | None, start: State, end: State, settings: str
) -> None:
    upload = desk.upload(start)
    said = desk.refusal(
        "UPDATE metrika_uploads SET state = %s WHERE id = %s", end, upload, role=role, settings=settings
    )
    who = "anybody" if start is end else UPLOAD_MOVES.get((start.value, end.value), "nobody")
    is_uploader = bool(settings) and role is None
    assert (said is None) == (who == "anybody" or (who == "uploader" and is_uploader)), said


@pytest.mark.parametrize(
    "change",
    [
        "token = 'other'",
        "id = gen_random_uuid()",
        "row_count = 2",
        "body_sha256 = ''",
        "metrika_upload_id = '5'",
        "maybe_taken = FALSE",
        "attempts = attempts - 1",
        "id_type = 'Yclid'",
        "prepared_at = now() - interval '1 day'",
        "sent_at = now() - interval '1 day'",
        "answered_at = '2020-01-01'",
        "state = 'rejected', maybe_taken = FALSE",
    ],
)
def test_what_the_ledger_knows_of_a_request_does_not_change(desk: Desk, role: str | None, change: str) -> None:
    for state in ("sending", "unknown", "prepared"):
        upload = desk.upload(state, maybe_taken=True)
        with desk.connection.transaction():
            desk.connection.execute("SET LOCAL goalpost.uploader = 'on'")
            desk.connection.execute(
                "UPDATE metrika_uploads SET metrika_upload_id = '4', attempts = 2, sent_at = now() WHERE id = %s",
                (upload,),
            )
        assert desk.refusal(f"UPDATE metrika_uploads SET {change} WHERE id = %s", upload, role=role) is not None
        later = "UPDATE metrika_uploads SET next_check_at = now(), error_message = 'm' WHERE id = %s"
        assert desk.refusal(later, upload, role=role) is None


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("days", [1, LONGEST_TOPIC_DAYS + 1])
def test_the_ledger_forgets_by_retention_only(desk: Desk, role: str | None, state: State, days: int) -> None:
    upload = desk.upload(state, days=days)
    delete = "DELETE FROM metrika_uploads WHERE id = %s"
    assert desk.refusal(delete, upload, role=role) is not None
    said = desk.refusal(delete, upload, role=role, settings="goalpost.retention")
    settled = state not in (State.PREPARED, State.SENDING, State.UNKNOWN)
    assert (said is None) == (settled and days > LONGEST_TOPIC_DAYS and role is None)


def test_the_audit_trail_opens_to_the_owners_retention_only(desk: Desk, role: str | None) -> None:
    event_id = desk.row("failed")
    desk.connection.execute("INSERT INTO conversion_events (conversion_id, status) VALUES (%s, 'error')", (event_id,))
    said = desk.refusal(
        "DELETE FROM conversion_events WHERE conversion_id = %s", event_id, role=role, settings="goalpost.retention"
    )
    assert (said is None) == (role is None)


def test_the_days_of_the_migration_are_those_that_topics_keep_events() -> None:
    text = (_ROOT / "sinks/postgres/migrations/0013_allowed_moves.sql").read_text(encoding="utf-8")
    assert set(re.findall(r"interval '(\d+) days'", text)) == {str(LONGEST_TOPIC_DAYS)}
