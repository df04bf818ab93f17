"""Conversions that come again, on a real server: late sessions and other amounts, each exactly once."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from goalpost.retention.policy import Cutoffs
from goalpost.retention.tables import carry_out, steps
from sandbox.stack import Addresses
from schemas.events import Conversion
from sinks.postgres import amending
from sinks.postgres.connection import Connection
from sinks.postgres.rows import PlacedConversion
from sinks.postgres.writer import Writer
from tests.sink_material import (
    AT,
    Registered,
    analytics_row,
    conversion,
    fresh_database,
    goals,
    opened,
    placed,
    register_webhook,
)

HOUR_MS = 3_600_000
UPLOADED_WITH = (
    "status, stage, target, price, currency, client_id, yclid, user_id, purchase_id, occurred_at, received_at, "
    "deadline_at, upload, upload_line, upload_second, order_id, payload"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A writer on a database of its own."""

    url: str
    connection: Connection
    registered: Registered
    writer: Writer

    def row(self, event_id: str, columns: str = "*") -> dict[str, Any]:
        """A conversion's row."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(f"SELECT {columns} FROM webhook_conversions WHERE id = %s", (event_id,)).fetchone()
        assert found is not None
        return found

    def trail(self, event_id: str) -> list[tuple[str, str]]:
        """What the audit trail says beyond stages."""
        query = "SELECT what, reason FROM conversion_events WHERE conversion_id = %s AND what IS NOT NULL ORDER BY id"
        return [(str(what), str(reason)) for what, reason in self.connection.execute(query, (event_id,))]

    def corrections(self, event_id: str) -> list[tuple[Any, ...]]:
        """The rows that correct a conversion, as they were received."""
        query = "SELECT price, currency FROM webhook_conversions WHERE corrects = %s ORDER BY received_at, id"
        return self.connection.execute(query, (event_id,)).fetchall()

    def hook(self, on_change: str) -> Registered:
        """Another webhook of the counter, with its wish about other amounts."""
        made = self.connection.execute(
            "INSERT INTO offline_webhooks (counter_id, url, on_change) VALUES (%s, 'http://127.0.0.1/', %s) "
            "RETURNING id::text",
            (self.registered.counter_id, on_change),
        ).fetchone()
        assert made is not None
        return replace(self.registered, webhook_id=str(made[0]))

    def site_row(self) -> str:
        """A row that the site has written."""
        key = str(uuid.uuid4())
        self.connection.execute(
            "INSERT INTO user_analytics (id, session_id, analytics_data) VALUES (%s, 'its own', '{}')", (key,)
        )
        return key


@pytest.fixture(scope="module")
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture
def desk(database: str) -> Iterator[Desk]:
    with opened(database) as connection:
        yield Desk(
            url=database, connection=connection, registered=register_webhook(connection), writer=Writer(connection)
        )


def ahead(desk: Desk, **over: Any) -> Conversion:
    """A conversion that went ahead of its session."""
    return conversion(desk.registered, **{"yclid": "55", "session_id": "s-1", **over})


def with_session(of: Conversion, row_id: str | None, **over: Any) -> Conversion:
    """The same conversion, later, with its session."""
    late = {
        "session_missing": False,
        "row_id": row_id,
        "session_at": AT - HOUR_MS,
        "client_id": of.client_id or "1763790000123456789",
        "resolved_at": of.received_at + 7 * HOUR_MS,
        "deadline_at": of.deadline_at - HOUR_MS,
        "attempts": 4,
    }
    return replace(of, **{**late, **over})


def test_a_late_session_appends_the_goal_and_changes_nothing_that_was_uploaded(desk: Desk) -> None:
    row_id, first = desk.site_row(), ahead(desk)
    desk.writer.write(placed(first))
    desk.connection.execute(
        "UPDATE webhook_conversions SET status = 'sent', stage = 'processed', upload_second = 17 WHERE id = %s",
        (first.event_id,),
    )
    before = desk.row(first.event_id, UPLOADED_WITH)
    written = desk.writer.write(placed(with_session(first, row_id)))
    assert (written.stored, written.goals_appended, written.amended.sessions) == ((), 1, 1)
    assert [goal["event_id"] for goal in goals(desk.connection, row_id)] == [first.event_id]
    assert desk.row(first.event_id, UPLOADED_WITH) == before
    after = desk.row(first.event_id)
    assert (after["session_missing"], after["goal_appended"], after["analytics_row_id"]) == (False, True, row_id)
    assert after["session_id"] == "s-1"
    assert after["notes"] == (
        "its session came 7 h after it was received, and its goal was appended then; with its session it would have "
        "gone to Metrika by ClientId, not Yclid; with its session its deadline would have been 2025-11-22T04:40:00Z"
    )
    assert desk.trail(first.event_id) == [("session_came", after["notes"])]


def test_a_late_session_is_brought_once_however_often_it_comes(desk: Desk) -> None:
    row_id, other, first = desk.site_row(), desk.site_row(), ahead(desk, client_id="1")
    late = with_session(first, row_id)
    desk.writer.write(placed(first, late, late))
    for repeat in (late, first, with_session(first, other)):
        again = desk.writer.write(placed(repeat))
        assert (again.goals_appended, again.amended.sessions) == (0, 0)
    assert len(goals(desk.connection, row_id)) == 1
    assert desk.row(first.event_id)["analytics_row_id"] == row_id


def test_a_session_that_is_stored_before_its_conversion_went_ahead_changes_nothing_later(desk: Desk) -> None:
    """Another partition's records may be read first."""
    row_id, first = desk.site_row(), ahead(desk)
    desk.writer.write(placed(with_session(first, row_id)))
    again = desk.writer.write(placed(first))
    assert (again.stored, again.goals_appended) == ((), 0)
    assert len(goals(desk.connection, row_id)) == 1
    assert desk.row(first.event_id)["client_id"] == "1763790000123456789"


def test_a_late_session_whose_row_goalpost_creates_has_its_row_made(desk: Desk) -> None:
    row_id, first = str(uuid.uuid4()), ahead(desk)
    desk.writer.write(placed(first))
    assert analytics_row(desk.connection, row_id) is None
    desk.writer.write(placed(with_session(first, row_id, creates_row=True)))
    assert len(goals(desk.connection, row_id)) == 1
    desk.connection.execute("DELETE FROM user_analytics WHERE id = %s", (row_id,))
    desk.writer.write(placed(with_session(first, row_id, creates_row=True)))
    assert analytics_row(desk.connection, row_id) is None, "a row that was deleted never comes back"


def test_a_late_session_whose_row_is_gone_is_noted_without_a_goal(desk: Desk) -> None:
    first = ahead(desk)
    desk.writer.write(placed(first))
    written = desk.writer.write(placed(with_session(first, str(uuid.uuid4()))))
    assert (written.goals_appended, written.amended.sessions) == (0, 1)
    after = desk.row(first.event_id)
    assert (after["session_missing"], after["goal_appended"]) == (False, False)
    assert "there is no such row in user_analytics" in after["notes"]


def test_the_goal_is_the_stored_one_whatever_rules_say_today(desk: Desk) -> None:
    row_id, first = desk.site_row(), ahead(desk)
    desk.writer.write(placed(first))
    changed = {"target": "another_goal", "price": Decimal(1), "occurred_at": AT + 5, "rules_changed_at": AT + 9}
    desk.writer.write(placed(with_session(first, row_id, **changed)))
    (goal,) = goals(desk.connection, row_id)
    assert (goal["goal"], goal["value"], goal["timestamp"]) == ("payment_success", 5000, "2025-11-22T05:40:00.123Z")
    assert desk.trail(first.event_id)[0][0] == "session_came"
    assert not [what for what, _ in desk.trail(first.event_id) if what == "amount_changed"]


def test_a_conversion_that_was_erased_gets_no_session_any_more(desk: Desk) -> None:
    row_id, first = desk.site_row(), ahead(desk)
    desk.writer.write(placed(first))
    desk.connection.execute(
        "UPDATE webhook_conversions SET session_id = NULL, yclid = NULL, anonymised_at = now() WHERE id = %s",
        (first.event_id,),
    )
    for creates_row in (False, True):
        key = str(uuid.uuid4()) if creates_row else row_id
        written = desk.writer.write(placed(with_session(first, key, creates_row=creates_row)))
        assert (written.goals_appended, written.amended.sessions) == (0, 0)
        assert creates_row == (analytics_row(desk.connection, key) is None)
    after = desk.row(first.event_id)
    assert (after["session_id"], after["analytics_row_id"], after["notes"]) == (None, None, None)


def test_a_row_that_goalpost_did_not_write_is_left_alone(desk: Desk) -> None:
    row_id, first = desk.site_row(), ahead(desk)
    desk.connection.execute(
        "INSERT INTO webhook_conversions (id, webhook_id, counter_id, payload, session_missing) "
        "VALUES (%s, %s, %s, '{}', TRUE)",
        (first.event_id, first.webhook_id, first.counter_id),
    )
    written = desk.writer.write(placed(first, with_session(first, row_id, price=Decimal(7), price_sent=True)))
    assert (written.stored, written.goals_appended, written.amended.amounts) == ((), 0, [])


def test_a_correction_never_becomes_a_conversion_of_its_own(desk: Desk) -> None:
    """Whoever writes SQL: without what it corrects it would get a second of its own, and count."""
    first, second = sale(desk.hook("correct")), sale(desk.registered)
    desk.writer.write(placed(first, other_amount(first, "5000", 9), second))
    for change in ("corrects = NULL WHERE corrects = %s", "corrects = gen_random_uuid() WHERE corrects = %s"):
        with pytest.raises(psycopg.errors.RaiseException, match="stays what it is"):
            desk.connection.execute(f"UPDATE webhook_conversions SET {change}", (first.event_id,))
    with pytest.raises(psycopg.errors.RaiseException, match="stays what it is"):
        desk.connection.execute(
            "UPDATE webhook_conversions SET corrects = %s WHERE id = %s", (first.event_id, second.event_id)
        )


def test_two_sinks_bring_a_session_once(desk: Desk) -> None:
    rows = [desk.site_row() for _ in range(2)]
    firsts = [ahead(desk) for _ in range(50)]
    desk.writer.write(placed(*firsts))
    start = threading.Barrier(2)
    counts: list[int] = []

    def sink(row_id: str, order: int) -> None:
        with opened(desk.url) as own:
            writer = Writer(own)
            start.wait(10)
            written = writer.write(placed(*(with_session(one, row_id) for one in firsts[::order])))
            counts.append(written.amended.sessions)

    threads = [threading.Thread(target=sink, args=(row, order)) for row, order in zip(rows, (1, -1), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(counts) == len(firsts)
    appended = [
        len(
            (analytics_row(desk.connection, row) or {})["analytics_data"]
            .get("target_actions", {})
            .get("yandex_goals_triggered", [])
        )
        for row in rows
    ]
    assert sum(appended) == len(firsts)


def other_amount(of: Conversion, price: str, offset: int, **over: Any) -> Conversion:
    """The same order and goal, sent again with another amount."""
    changed = {
        "price": Decimal(price),
        "price_sent": True,
        "raw_offset": offset,
        "received_at": of.received_at + offset,
    }
    return replace(of, **{**changed, **over})


def sale(hook: Registered, **over: Any) -> Conversion:
    """A sale of 3 000 roubles."""
    values = {"client_id": "1", "price": Decimal("3000.0000"), "currency": "RUB", "price_sent": True}
    return conversion(hook, **{**values, **over})


@pytest.mark.parametrize("price", ["5000.0000", "0.0000", "-3000.0000", "3000.0100"])
def test_another_amount_is_told_once_and_the_first_one_stands(desk: Desk, price: str) -> None:
    first = sale(desk.registered)
    desk.writer.write(placed(first))
    before = desk.row(first.event_id, UPLOADED_WITH)
    second = other_amount(first, price, 100)
    written = desk.writer.write(placed(second))
    assert [decision.value for _, decision in written.amended.amounts] == ["ignored"]
    for repeat in (second, first, other_amount(first, price, 200), replace(first, raw_offset=300)):
        assert desk.writer.write(placed(repeat)).amended.amounts == []
    assert desk.row(first.event_id, UPLOADED_WITH) == before
    ((what, said),) = desk.trail(first.event_id)
    assert (what, desk.row(first.event_id)["notes"]) == ("amount_changed", said)
    assert said.endswith("RUB, and 3000 RUB stands")
    assert desk.corrections(first.event_id) == []


@pytest.mark.parametrize(
    "repeat",
    [
        {"raw_offset": 9},
        {"raw_offset": 9, "price": Decimal(0), "price_sent": False},
        {"raw_offset": 9, "price": Decimal(700), "price_sent": False, "rules_changed_at": AT + 1},
        {"raw_offset": 9, "currency": "USD", "currency_sent": False},
        {"price": Decimal(700), "rules_changed_at": AT + 1},
        {"raw_offset": 9, "price": Decimal("3000")},
        {"raw_offset": 9, "target": "another", "occurred_at": AT + 1, "payload": "{}"},
    ],
    ids=["again", "no amount", "a rule's amount", "a default currency", "same raw event", "same number", "no money"],
)
def test_what_is_no_other_amount_is_not_told(desk: Desk, repeat: dict[str, Any]) -> None:
    first = sale(desk.registered)
    desk.writer.write(placed(first))
    written = desk.writer.write(placed(replace(first, **repeat)))
    assert (written.repeated, written.amended.amounts) == (1, [])
    assert (desk.trail(first.event_id), desk.row(first.event_id)["notes"]) == ([], None)


def test_another_currency_is_another_amount(desk: Desk) -> None:
    first = sale(desk.registered)
    desk.writer.write(placed(first))
    written = desk.writer.write(placed(other_amount(first, "3000", 9, currency="USD", currency_sent=True)))
    assert len(written.amended.amounts) == 1
    assert desk.row(first.event_id)["notes"] == "it came again with 3000 USD, and 3000 RUB stands"


def test_amounts_in_one_batch_are_told_as_if_they_came_apart(desk: Desk) -> None:
    first = sale(desk.registered)
    amounts = [other_amount(first, price, number) for number, price in enumerate(("1", "2", "1"), start=10)]
    written = desk.writer.write(placed(first, *amounts, first))
    assert (len(written.stored), len(written.amended.amounts)) == (1, 2)


def test_whoever_sends_amount_after_amount_makes_no_endless_note(desk: Desk) -> None:
    first = sale(desk.registered)
    desk.writer.write(placed(first, *(other_amount(first, str(number), number) for number in range(10, 200))))
    assert len(desk.row(first.event_id)["notes"]) < 1200
    assert len(desk.trail(first.event_id)) == 190


def test_with_letter_the_record_that_brought_the_amount_is_asked_about_also_after_a_crash(desk: Desk) -> None:
    first = sale(desk.hook("letter"))
    desk.writer.write(placed(first))
    (second,) = placed(other_amount(first, "5000", 9))
    for _ in range(2):
        (asked,) = desk.writer.write([second]).amended.asked
        assert asked.placed is second
        assert asked.why.startswith("it came again with 5,000 RUB and is stored with 3,000 RUB; replay this letter")
    assert desk.writer.write(placed(other_amount(first, "5000", 10))).amended.asked == []
    assert len(desk.trail(first.event_id)) == 1


def test_a_replayed_letter_corrects_the_amount_once(desk: Desk) -> None:
    first = sale(desk.hook("letter"))
    desk.writer.write(placed(first))
    asked, replayed = placed(*[other_amount(first, "5000", 9)] * 2)
    desk.writer.write([asked])
    for _ in range(2):
        again = desk.writer.write([replace(replayed, is_replayed=True)])
        assert again.amended.asked == []
    assert desk.corrections(first.event_id) == [(Decimal("5000.0000"), "RUB")]
    assert desk.writer.write([asked]).amended.asked == [], "the letter was answered"
    assert [said for _, said in desk.trail(first.event_id)][-1].endswith("which is uploaded as a correction")


def test_with_correct_the_new_amount_is_a_row_of_its_own_that_names_the_same_conversion(desk: Desk) -> None:
    first = sale(desk.hook("correct"), session_id="s", order_id="D-1")
    desk.writer.write(placed(first))
    before = desk.row(first.event_id, UPLOADED_WITH)
    second = other_amount(first, "5000", 9, client_id="another", occurred_at=AT + HOUR_MS, target="another")
    for _ in range(2):
        desk.writer.write(placed(second))
    assert desk.corrections(first.event_id) == [(Decimal("5000.0000"), "RUB")]
    assert desk.row(first.event_id, UPLOADED_WITH) == before
    made = desk.connection.execute(
        "SELECT id::text FROM webhook_conversions WHERE corrects = %s", (first.event_id,)
    ).fetchone()
    assert made is not None
    correction, same = (
        desk.row(str(made[0])),
        ("client_id", "target", "occurred_at", "deadline_at", "order_id", "session_id"),
    )
    assert {name: correction[name] for name in same} == {name: desk.row(first.event_id)[name] for name in same}
    assert (correction["status"], correction["stage"], correction["goal_appended"]) == ("pending", "stored", False)
    assert correction["upload_second"] is None


@pytest.mark.parametrize(
    ("of_first", "why"),
    [
        ({"client_id": None, "phone_md5": "f09f2c3d48f31e2a802944ade2e5aec5"}, "is not corrected"),
        ({"received_at": AT + HOUR_MS}, "received before"),
    ],
)
def test_what_cannot_be_corrected_says_why(desk: Desk, of_first: dict[str, Any], why: str) -> None:
    first = sale(desk.hook("correct"), **of_first)
    desk.writer.write(placed(first))
    desk.writer.write(placed(other_amount(first, "5000", 9, received_at=AT)))
    assert desk.corrections(first.event_id) == []
    assert why in desk.row(first.event_id)["notes"]


def test_an_amount_that_was_received_before_the_latest_correction_does_not_undo_it(desk: Desk) -> None:
    first = sale(desk.hook("correct"))
    later, earlier = other_amount(first, "7000", 90), other_amount(first, "5000", 10)
    desk.writer.write(placed(first))
    desk.writer.write(placed(later))
    desk.writer.write(placed(earlier))
    assert desk.corrections(first.event_id) == [(Decimal("7000.0000"), "RUB")]


def test_retention_takes_the_amounts_of_a_conversion_with_it(desk: Desk) -> None:
    first, kept = sale(desk.registered), sale(desk.registered, received_at=AT + 900 * 86_400_000)
    desk.writer.write(placed(*(one for of in (first, kept) for one in (of, other_amount(of, "1", 9)))))
    events = [first.event_id, kept.event_id]
    desk.connection.execute(
        "UPDATE webhook_conversions SET status = 'error', stage = 'failed' WHERE id = ANY(%s::uuid[])", (events,)
    )
    long_ago = datetime.fromtimestamp(AT / 1000, UTC) + timedelta(days=1)
    (step,) = (step for step in steps(desk.connection) if step.name.startswith("webhook_conversions: rows deleted"))
    assert (
        sum(
            carry_out(desk.connection, step, Cutoffs(anonymise=long_ago, delete=long_ago, sessions=long_ago), batch=100)
        )
        > 0
    )
    query = "SELECT conversion_id::text FROM conversion_amounts WHERE conversion_id = ANY(%s::uuid[])"
    assert desk.connection.execute(query, (events,)).fetchall() == [(kept.event_id,)]


repeats = st.lists(
    st.tuples(st.sampled_from(["3000", "5000", "0"]), st.booleans(), st.integers(0, 3)), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=repeats, sizes=st.lists(st.integers(1, 4), max_size=8), mode=st.sampled_from(["ignore", "letter", "correct"])
)
def test_every_amount_is_told_once_and_every_goal_appended_once_in_any_batches(
    desk: Desk, told: list[tuple[str, bool, int]], sizes: list[int], mode: str
) -> None:
    """Whatever comes how often, in whatever batches, and everything once more after a crash."""
    row_id, first = desk.site_row(), sale(desk.hook(mode), session_id="s")
    stream: list[PlacedConversion] = placed(first)
    for price, has_session, offset in told:
        again = other_amount(first, price, 10 + offset)
        stream += placed(with_session(again, row_id) if has_session else again)
    amounts: list[str] = []
    for _ in range(2):
        left = list(stream)
        for size in [*sizes, len(stream)]:
            batch, left = left[:size], left[size:]
            if batch:
                amounts += [decision.value for _, decision in desk.writer.write(batch).amended.amounts]
    others = {price for price, _, _ in told} - {"3000"}
    assert len(amounts) == len(others)
    came = any(has_session for _, has_session, _ in told)
    data = (analytics_row(desk.connection, row_id) or {})["analytics_data"]
    appended = data.get("target_actions", {}).get("yandex_goals_triggered", [])
    assert [goal["event_id"] for goal in appended] == [first.event_id] * came
    assert len(desk.corrections(first.event_id)) == amounts.count("corrected")


def test_what_is_looked_up_of_repeats_goes_through_the_primary_key(desk: Desk) -> None:
    """The planner knows nothing of a temporary list, and a scan of years of conversions would hold up the sink."""
    given = json.dumps([{"id": str(uuid.uuid4()), "price": "1", "price_sent": True, "has_session": True}])
    with psycopg.connect(desk.url) as other:
        lines = other.execute("EXPLAIN " + amending._NEWS, (given,)).fetchall()
    assert "Seq Scan on webhook_conversions" not in "\n".join(str(line) for (line,) in lines)
