"""What no rule was for comes back by a rule that is added later, under the ids that it would have had."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from goalpost.cli import main
from goalpost.dead_letters.bodies import Parser
from goalpost.dead_letters.journal import Fate, Journal
from goalpost.dead_letters.letter import Letter, letter_of
from goalpost.dead_letters.plan import Failed, Limits, Republish, Untouched
from goalpost.dead_letters.reading import IGNORED_TOPICS, LETTER_TOPICS, letter_topic
from goalpost.dead_letters.remake import Partly, Records, remade
from goalpost.dead_letters.replay import Decided, Planner, fate_of
from goalpost.retention.policy import kept_at_most_ms
from goalpost.retention.visitor import Visitor, traces
from goalpost.webhooks.rules import parse_rule
from producers.dialects.outcome import Ignored
from producers.raw_events import delivery_of, ignored_record
from schemas.events import RawEvent, Webhook
from schemas.records import Incoming, Outgoing, header
from schemas.topics import IGNORED, RAW, UNFETCHED
from tests.unit.producers.crm import Pairs, accepted, events
from tests.unit.producers.parts import NOW_MS, RAW_CODEC, webhook

YM_UID = "1666707227246044402"
DAY_MS = 86_400_000


def lead(number: int, status: str, action: str = "status") -> Pairs:
    at = f"leads[{action}][{number}]"
    told = {"id": str(number), "status_id": status, "last_modified": "1789990000"}
    told |= {"custom_fields][0][name": "_ym_uid", "custom_fields][0][values][0][value": YM_UID}
    return [(f"{at}[{name}]", value) for name, value in told.items()]


def as_read(record: Outgoing, offset: int = 0) -> Incoming:
    return Incoming(
        topic=record.topic,
        partition=0,
        offset=offset,
        timestamp=NOW_MS,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def ignored(*leads: Pairs, rules: tuple[str, ...] = ()) -> Letter:
    """What the door keeps of a body with ``leads``."""
    found = accepted("amocrm", [pair for one in leads for pair in one], rules=rules)
    (record,) = [one for one in found.records if one.topic == IGNORED.name]
    return letter_of(as_read(record))


def configured(*rules: str, dialect: str = "amocrm") -> Webhook:
    return webhook(dialect=dialect, rules=tuple(parse_rule(rule) for rule in rules))


def made(letter: Letter, *rules: str, dialect: str = "amocrm") -> Records | Partly | Failed | Untouched:
    hook = configured(*rules, dialect=dialect)
    return remade(letter, run_id="r", fix=None, parse=Parser(webhook=lambda _: hook, codec=lambda: RAW_CODEC))


def decided(letter: Letter, *rules: str) -> Decided:
    class Nothing:
        def states(self, _: object) -> dict[str, object]:
            return {}

    planner = Planner(
        journal=Journal(()),
        rows=Nothing(),  # type: ignore[arg-type]  # it has no rows to reset
        remake=lambda one: made(one, *rules),
        limits=Limits(max_replays=3),
        now_ms=NOW_MS,
    )
    ((one,),) = planner.planned([letter])
    return one


def test_a_rule_that_is_added_later_brings_a_lead_back_under_the_id_that_it_would_have_had() -> None:
    at_the_door = events(accepted("amocrm", lead(5, "77"), rules=["77=qualified"]))

    found = decided(ignored(lead(5, "77")), "77=qualified")

    (record,) = found.records
    event = RAW_CODEC.decode(record.value)
    assert (event.event_id, event.stage, event.ym_uid) == (at_the_door[0].event_id, "77", YM_UID)
    assert (event.received_at, header(record.headers, "dlq.replay.run.id")) == (NOW_MS, "r")
    assert (found.action, fate_of(found.action)) == (Republish(topic=RAW.name), Fate.REPLAYED)


def test_a_lead_that_still_has_no_rule_stays_where_it_is() -> None:
    found = decided(ignored(lead(5, "77")), "78=other")
    assert (found.action, found.records, fate_of(found.action)) == (Untouched(), (), None)


def test_of_a_body_with_several_leads_those_with_a_rule_come_back_and_the_letter_stays_open_for_the_rest() -> None:
    letter = ignored(lead(5, "77"), lead(6, "78"))

    first = decided(letter, "77=a")
    both = decided(letter, "77=a", "78=b")

    assert [RAW_CODEC.decode(one.value).order_id for one in first.records] == ["5"]
    assert (first.action, fate_of(first.action)) == (Republish(topic=RAW.name, partly=True), None)
    assert [RAW_CODEC.decode(one.value).order_id for one in both.records] == ["5", "6"]
    assert fate_of(both.action) is Fate.REPLAYED
    assert {header(one.headers, "event_id") for one in first.records} < {
        header(one.headers, "event_id") for one in both.records
    }


def test_what_was_taken_when_it_came_comes_back_as_the_same_event_and_what_was_rejected_does_not() -> None:
    body = [*lead(5, "142"), *lead(6, "77"), ("leads[add][0][id]", "7"), ("leads[add][0][status_id]", "142")]
    at_the_door = accepted("amocrm", body)
    letter = letter_of(as_read(at_the_door.records[-1]))

    found = made(letter, "142=won", "77=moved")

    assert isinstance(found, tuple)
    assert {one.topic for one in found} == {RAW.name}
    ids = [header(one.headers, "event_id") for one in found]
    assert (ids[0], len(ids)) == (at_the_door.event_ids[0], 2)


def test_an_action_may_get_a_rule_later_too() -> None:
    found = made(ignored(lead(5, "142", "note")), "note=noted")
    assert isinstance(found, tuple)
    assert RAW_CODEC.decode(found[0].value).stage == "note"


def test_a_robot_at_a_stage_without_a_rule_comes_back_as_well() -> None:
    query = f"ym_uid={YM_UID}&stage=C2:NEW"
    kept = accepted("bitrix24", [("document_id[2]", "DEAL_5")], query=query, rules=["WON=won"]).records[0]
    wanted = accepted("bitrix24", [("document_id[2]", "DEAL_5")], query=query, rules=["C2:NEW=new"]).event_ids

    found = made(letter_of(as_read(kept)), "C2:NEW=new", dialect="bitrix24")

    assert isinstance(found, tuple)
    assert [header(one.headers, "event_id") for one in found] == wanted


@pytest.mark.parametrize(
    ("rules", "noted"), [(("NEW=new",), True), (("*=any",), True), (("WON=won",), False), ((), False)]
)
def test_a_deal_that_was_fetched_in_a_stage_without_rule_is_read_again_only_for_a_rule(
    rules: tuple[str, ...], noted: bool
) -> None:
    note = RawEvent(
        event_id="e",
        webhook_id=webhook().webhook_id,
        dialect="bitrix24_event",
        received_at=NOW_MS,
        occurred_at=NOW_MS,
        order_id="5",
        body=b"event=ONCRMDEALUPDATE&data[FIELDS][ID]=5&ts=1789990000",
        content_type="application/x-www-form-urlencoded",
    )
    letter = letter_of(as_read(ignored_record(delivery_of(note), [Ignored.OTHER_STAGE], stage="NEW")))

    found = made(letter, *rules, dialect="bitrix24_event")

    assert isinstance(found, tuple) is noted
    assert [one.topic for one in found] == [UNFETCHED.name] if isinstance(found, tuple) else found == Untouched()


def test_without_its_webhook_it_says_so_and_stays() -> None:
    letter = ignored(lead(5, "77"))
    found = remade(letter, run_id="r", fix=None, parse=Parser(webhook=lambda _: None, codec=lambda: RAW_CODEC))
    assert isinstance(found, Failed)


def test_it_is_listed_by_why_it_was_ignored_and_of_which_webhook() -> None:
    letter = ignored(lead(5, "77"), lead(6, "78", "note"))
    assert (letter.error_class, letter.stage, letter.webhook_id) == (
        "other_event,other_stage",
        "parse",
        webhook().webhook_id,
    )
    assert letter.identity == f"{IGNORED.name}:0:0"


def test_dead_letters_are_what_is_meant_without_saying_ignored() -> None:
    assert IGNORED.name not in LETTER_TOPICS
    assert (IGNORED_TOPICS, letter_topic(IGNORED.name)) == ((IGNORED.name,), IGNORED.name)


@pytest.mark.parametrize("command", [("ls",), ("replay",), ("discard", "--reason", "r")])
def test_ignored_and_a_topic_exclude_each_other(command: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(main, ["dlq", *command, "--ignored", "--topic", RAW.name])
    assert (answer.exit_code, "leave --topic out" in answer.output) == (2, True)


def test_a_visitor_who_is_forgotten_does_not_come_back_by_a_rule() -> None:
    letter = ignored(lead(5, "77"))
    visitor = Visitor(ym_uids=frozenset({YM_UID}), session_ids=frozenset())

    found = traces(lambda topic: [letter.record] if topic == IGNORED.name else [], visitor)

    assert list(found.letters) == [letter.identity]
    assert found.found == {IGNORED.name: 1}


def test_a_record_is_gone_a_day_after_its_week_at_the_latest() -> None:
    assert kept_at_most_ms(IGNORED) == 8 * DAY_MS


def test_a_replay_that_is_repeated_repeats_the_same_records() -> None:
    letter = ignored(lead(5, "77"), lead(6, "78"))
    assert decided(letter, "77=a").records == decided(replace(letter), "77=a").records
