"""An event's way, put together from what was found."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from goalpost.lineage.answer import Change, Lineage, NotAsked, StoredRow
from goalpost.lineage.commands import _absence, as_content
from goalpost.lineage.question import Place, question
from goalpost.lineage.search import _made_at
from goalpost.lineage.uploading import Obstacles, Upload
from goalpost.lineage.way import way_of
from producers.dialects.outcome import Reported
from producers.raw_events import Delivery, raw_events
from schemas.identity import event_id_for
from schemas.records import Incoming
from schemas.topics import TOPICS

EVENT = "8d1b6a2e-5c0f-5d4b-9a3e-2f4c6b8d0e1a"
T = 1_767_225_600_000


def _record(topic: str, *, offset: int = 0, at: int = T, value: bytes | None = b"v", **headers: str) -> Incoming:
    return Incoming(
        topic=topic,
        partition=3,
        offset=offset,
        timestamp=at,
        key=b"s:1",
        value=value,
        headers=(
            ("event_id", EVENT.encode()),
            *((name.replace("_", "."), text.encode()) for name, text in headers.items()),
        ),
    )


RAW = _record("crm.events.raw", offset=1042)
WAIT_1 = _record("crm.events.waiting", offset=5, at=T + 20, waiting_attempt="1", waiting_due=str(T + 10_020))
WAIT_2 = _record("crm.events.waiting", offset=8, at=T + 11_000, waiting_attempt="2", waiting_released="5")
RELEASE = _record("crm.events.waiting", offset=9, at=T + 60_000, value=None, waiting_released="8")
LETTER = _record(
    "crm.events.raw.dlq", at=T + 60_000, dlq_error_class="session_not_found", dlq_stage="join", dlq_error_message="gone"
)
MARK = replace(_record("goalpost.replays", at=T + 90_000), key=b"crm.events.raw.dlq:3:0", value=b"replayed")

UPLOAD = Upload(
    token="goalpost1",
    state="processed",
    id_type="ClientId",
    row_count=2,
    metrika_upload_id="42",
    line_quantity=2,
    linked_quantity=1,
)
ROW = StoredRow(
    event_id=EVENT,
    webhook_id="w",
    status="sent",
    stage="processed",
    source="generic",
    created_at=T + 300,
    received_at=T,
    resolved_at=T + 200,
    session_id="1",
    session_missing=False,
    analytics_row_id="row-1",
    target="deal_won",
    price="100.0000",
    currency="RUB",
    goal_rule="payload",
    goal_appended=True,
    raw_partition=3,
    raw_offset=1042,
    conversion_partition=3,
    conversion_offset=77,
    upload_line=1,
    upload=UPLOAD,
    changes=(
        Change(at=T + 400, stage="batched", actor="goalpost-metrika", upload_token="goalpost1"),
        Change(
            at=T + 500, stage="uploaded", actor="goalpost-metrika", upload_token="goalpost1", metrika_upload_id="42"
        ),
        Change(
            at=T + 9000, stage="processed", actor="goalpost-metrika", upload_token="goalpost1", metrika_upload_id="42"
        ),
    ),
)


@pytest.mark.parametrize(
    ("records", "marks", "state"),
    [
        ([RAW], [], "received"),
        ([RAW, WAIT_1], [], "waiting"),
        ([RAW, WAIT_1, WAIT_2], [], "waiting"),
        ([RAW, WAIT_1, WAIT_2, RELEASE], [], "received"),
        ([RAW, WAIT_1, WAIT_2, RELEASE, _record("crm.conversions")], [], "resolved"),
        ([RAW, WAIT_1, WAIT_2, RELEASE, LETTER], [], "dead_lettered"),
        ([RAW, LETTER], [MARK], "received"),
        ([RAW, LETTER, _record("crm.conversions")], [MARK], "resolved"),
    ],
)
def test_an_event_is_in_exactly_one_state(records: list[Incoming], marks: list[Incoming], state: str) -> None:
    assert way_of(EVENT, row=None, records=records, replayed=marks).state == state


def test_a_stored_event_tells_its_whole_way_in_order() -> None:
    way = way_of(EVENT, row=ROW, records=[WAIT_1])

    assert [step.what for step in way.steps] == [
        "received",
        "waiting",
        "resolved",
        "stored",
        "goal_appended",
        "batched",
        "uploaded",
        "processed",
    ]
    assert [step.where for step in way.steps][:3] == [
        "crm.events.raw:3:1042",
        "crm.events.waiting:3:5",
        "crm.conversions:3:77",
    ]
    assert way.steps[5].where == "upload goalpost1"
    assert way.steps[7].detail.startswith("1 of 2 lines linked")
    assert way.state == "processed"


def test_a_conversion_that_was_uploaded_again_names_each_upload_and_not_the_last_one_twice() -> None:
    earlier = Change(at=T + 350, stage="batched", actor="goalpost-metrika", upload_token="goalpost0")

    way = way_of(EVENT, row=replace(ROW, changes=(earlier, *ROW.changes)), records=[])

    batched = [step for step in way.steps if step.what == "batched"]
    assert [step.where for step in batched] == ["upload goalpost0", "upload goalpost1"]
    assert [step.detail for step in batched] == [
        "by goalpost-metrika",
        "line 1 of 2 by ClientId (by goalpost-metrika)",
    ]


def test_a_conversion_out_of_a_refused_file_names_that_file_and_each_request() -> None:
    refused = replace(
        UPLOAD, token="goalpost0", state="rejected", row_count=9, finished_at=T + 410, error_message="400"
    )
    sent = replace(UPLOAD, sent_at=T + 450, attempts=2, parent="goalpost0")

    way = way_of(EVENT, row=replace(ROW, upload=sent, refused=(refused,)), records=[])

    found = [(step.what, step.where, step.detail) for step in way.steps if step.what in ("refused", "sent")]
    assert found == [
        ("refused", "upload goalpost0", "9 rows, sent again in parts: 400"),
        ("sent", "upload goalpost1", "request 2"),
    ]


def test_a_wait_has_a_beginning_and_an_end() -> None:
    began = _record("crm.events.waiting", waiting_attempt="1", waiting_since=str(T), waiting_due=str(T + 10_000))
    way = way_of(EVENT, row=None, records=[began, RELEASE])
    assert [step.what for step in way.steps] == ["waiting", "wait_over"]
    assert way.steps[0].detail == "delay 1, since 2026-01-01T00:00:00.000Z, until 2026-01-01T00:00:10.000Z"


@pytest.mark.parametrize(
    ("row", "waits"),
    [
        (ROW, None),
        (replace(ROW, stage="stored", upload=None), "Waiting: its counter's next upload."),
        (
            replace(ROW, stage="stored", upload=None, obstacles=Obstacles(goal_held="refused five times.")),
            "Waiting: its goal is held back: refused five times.",
        ),
        (
            replace(ROW, stage="batched", obstacles=Obstacles(account_paused="log in"), deadline_at=T),
            "Waiting: its account is paused: log in. It expires at 2026-01-01T00:00:00.000Z.",
        ),
        (
            replace(ROW, stage="batched", upload=replace(UPLOAD, state="unknown", error_message="HTTP 504")),
            "Waiting: its upload is unknown: HTTP 504.",
        ),
    ],
)
def test_what_is_not_at_metrika_yet_says_what_it_waits_for(row: StoredRow, waits: str | None) -> None:
    found = Lineage(asked=EVENT, events=(way_of(EVENT, row=row, records=[]),))
    assert as_content(found)["events"][0]["waits_for"] == waits


def test_a_letter_and_its_replay_are_part_of_the_way() -> None:
    way = way_of(EVENT, row=None, records=[RAW, LETTER], replayed=[MARK])

    assert [(step.what, step.where) for step in way.steps] == [
        ("received", "crm.events.raw:3:1042"),
        ("dead_lettered", "crm.events.raw.dlq:3:0"),
        ("replayed", "crm.events.raw.dlq:3:0"),
    ]
    assert way.steps[1].detail == "session_not_found at join: gone"


def test_a_failure_says_why_and_who_found_out() -> None:
    failed = Change(
        at=T + 500, stage="failed", actor="goalpost-metrika", error_class="expired", error_message="too late"
    )

    way = way_of(EVENT, row=replace(ROW, stage="failed", upload=None, changes=(failed,)), records=[])

    assert way.steps[-1].detail == "expired: too late (by goalpost-metrika)"


def test_a_row_that_goalpost_did_not_write_has_its_status() -> None:
    bare = StoredRow(event_id=EVENT, webhook_id="w", status="pending", stage=None, created_at=T)

    assert way_of(EVENT, row=bare, records=[]).state == "pending"


def test_json_holds_iso_times() -> None:
    content = as_content(Lineage(asked=EVENT, events=(way_of(EVENT, row=ROW, records=[]),)))

    assert json.loads(json.dumps(content))["events"][0]["steps"][0]["at"] == "2026-01-01T00:00:00.000Z"


def test_the_time_in_a_uuid7_bounds_the_search_and_no_other_id_does() -> None:
    assert T - 120_000 < _made_at(question(f"{T:012x}"[:8] + "-" + f"{T:012x}"[8:] + "-7e6f-8a9b-0c1d2e3f4a5b")) < T
    assert _made_at(question(EVENT)) == 0
    assert _made_at(question("4711")) == 0


WEBHOOK = "6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11"


@pytest.mark.parametrize("asked", ["DEAL_54", "deal_54", "D_54", "54", "#54", " 54 ", "№ 54"])
def test_a_deal_is_found_by_every_way_to_write_its_number(asked: str) -> None:
    assert {"54", "DEAL_54"} <= question(asked).orders


@pytest.mark.parametrize("asked", ["LEAD_54", "L_54", "54"])
def test_a_lead_is_found_by_its_number_and_by_its_name(asked: str) -> None:
    assert {"54", "LEAD_54"} <= question(asked).orders


def test_an_order_that_is_no_number_has_one_spelling() -> None:
    assert question("INV-2026/54").orders == {"INV-2026/54"}
    assert "54" not in question("MODEL_54").orders


@pytest.mark.parametrize(
    ("asked", "text"),
    [("s:abc", "abc"), ("u:1700000000123456789", "1700000000123456789"), ('"abc"', "abc"), (f"e:{EVENT}", EVENT)],
)
def test_a_key_is_taken_as_topics_show_it(asked: str, text: str) -> None:
    assert question(asked).text == text


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS])
def test_a_place_in_every_topic_of_ours_is_a_place(topic: str) -> None:
    assert question(f"{topic}:3:1042").place == Place(topic=topic, partition=3, offset=1042)


@pytest.mark.parametrize(
    "asked", ["site:3:1042", "crm.events.raw:3", "crm.events.raw:x:1", "crm.events.raw:3:-1", ":1:2"]
)
def test_what_only_looks_like_a_place_is_text(asked: str) -> None:
    assert question(asked).place is None


@pytest.mark.parametrize(
    "name",
    [
        "event_id:{}",  # the field event_id
        "delivery:{}",  # the header Idempotency-Key
        "delivery:{}#7",  # the same, of the eighth conversion of an array
        "tranid:{}",  # Tilda's number of a submission
    ],
)
@pytest.mark.parametrize("own", ["crm-4711", EVENT])
def test_the_senders_own_id_leads_to_the_event_that_the_door_has_made_of_it(name: str, own: str) -> None:
    assert event_id_for(WEBHOOK, name.format(own)) in question(own).event_ids([WEBHOOK])


def test_the_doors_own_derivations_are_those_that_trace_knows() -> None:
    """Whoever gives events other ids must tell `goalpost trace`."""
    delivery = Delivery(
        webhook_id=WEBHOOK, dialect="generic", received_at=T, body=b"", content_type=None, query=None, key="K"
    )
    cases = {
        "own": (Reported(event_id="own"), replace(delivery, key=None)),
        "K": (Reported(), delivery),
    }
    for asked, (reported, given) in cases.items():
        (event,) = raw_events([reported], given, new_id=uuid.uuid4)
        assert event.event_id in question(asked).event_ids([WEBHOOK])


@pytest.mark.parametrize("asked", ["", " ", "''", "\udcff", "a" * 5000, "%", "x\ty"])
def test_nothing_that_can_be_asked_is_an_error(asked: str) -> None:
    assert question(asked).event_ids([WEBHOOK])


def test_a_short_number_in_an_unreadable_body_says_nothing() -> None:
    assert not question("54").is_written_in(b'{"price": 54}')
    assert question("order-4711").is_written_in(b"order=order-4711&phone=1")
    assert not question("order-4711").is_written_in(b"order=order-47112")


def test_who_could_not_be_asked_is_named_and_nothing_is_said_to_be_unknown() -> None:
    silent = NotAsked(what="kafka", why="Kafka does not answer.")
    told = _absence(Lineage(asked="54", events=(), not_asked=(silent,)), 1.0)

    assert "Nothing is known" not in told
    assert "Postgres, The schema registry did not find it" in told
    assert "Nothing is known of 54" in _absence(Lineage(asked="54", events=()), 1.0)


def test_remarks_of_the_row_are_told_one_by_one_and_those_of_the_record_where_there_is_no_row() -> None:
    stored = way_of(EVENT, row=replace(ROW, notes="a time was none; an id was none"), records=[RAW], notes="other")
    waiting = way_of(EVENT, row=None, records=[RAW], notes="a time was none")

    assert stored.notes == ("a time was none", "an id was none")
    assert as_content(Lineage(asked=EVENT, events=(waiting,)))["events"][0]["notes"] == ["a time was none"]


def test_a_deal_that_is_yet_to_be_fetched_is_noted() -> None:
    way = way_of(EVENT, row=None, records=[_record("crm.events.unfetched")])

    assert (way.state, [step.what for step in way.steps]) == ("noted", ["noted"])


def test_a_late_session_and_another_amount_are_steps_of_their_own() -> None:
    came = Change(at=T + 9_000, stage="session_came", actor="sink", said="its session came 7 h after it was received")
    changed = Change(at=T + 9_500, stage="amount_changed", actor="sink", said="it came again with 5,000 RUB")
    ahead = _record("crm.events.waiting", at=T + 20, waiting_attempt="2", waiting_ahead="1")
    row = replace(
        ROW, goal_appended=True, analytics_row_id="r", attempts=1, changes=(came, changed), resolved_at=T + 200
    )

    steps = {step.what: step for step in way_of(EVENT, row=row, records=[ahead]).steps}

    assert steps["goal_appended"].at == came.at
    assert steps["resolved"].detail.startswith("session missing after 1 delays")
    assert steps["session_came"].detail == "its session came 7 h after it was received (by sink)"
    assert steps["amount_changed"].detail == "it came again with 5,000 RUB (by sink)"
    assert steps["waiting"].detail == "delay 2, for its session only"


def test_a_correction_names_what_it_corrects() -> None:
    steps = {step.what: step for step in way_of("c", row=replace(ROW, corrects=EVENT), records=[]).steps}

    assert steps["stored"].detail.endswith(f"in the place of the amount of {EVENT}")


@pytest.mark.parametrize("foreign", ["", "no webhook", "\ufffd", "9" * 5000])
def test_a_foreign_key_in_the_topic_of_webhooks_is_no_webhook(foreign: str) -> None:
    assert question("54").event_ids([foreign, WEBHOOK]) == question("54").event_ids([WEBHOOK])
