"""The join's decision, as a table of cases and as laws."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.sections import StreamSettings
from schemas.dead_letter import ErrorClass
from schemas.events import Conversion, GoalRule, RawEvent, Session
from schemas.identity import visitor_key
from streams.resolve import (
    LINKABLE_MS,
    Ahead,
    GivenUp,
    Occasion,
    Outcome,
    Policy,
    Rejected,
    Rekey,
    Resolved,
    Wait,
    lookup_key,
    resolve,
)
from tests.unit.streams.builders import NOW, POLICY, event, session, webhook

FIRST = Occasion(attempt=0, raw_partition=3, raw_offset=44)
SECOND = replace(FIRST, attempt=1)
LAST = replace(FIRST, attempt=2)
UNDER_VISITOR = replace(LAST, waiting_over=True)


def decide(of: RawEvent, found: Session | None = None, *, occasion: Occasion = FIRST, **known: Any) -> Outcome:
    return resolve(of, found, known.get("webhook", webhook()), occasion=occasion, policy=POLICY, now=NOW)


def conversion(of: RawEvent, found: Session | None = None, *, occasion: Occasion = FIRST, **known: Any) -> Conversion:
    outcome = decide(of, found, occasion=occasion, **known)
    assert isinstance(outcome, Resolved), outcome
    return outcome.conversion


@pytest.mark.parametrize(
    ("delays_ms", "short_wait_ms", "short"),
    [
        ((10, 30, 300), 60, 2),
        ((10, 30, 20, 300), 60, 3),
        ((61, 1), 60, 0),
        ((), 60, 0),
        ((10, 30), 1000, 2),
        ((1,), 0, 0),
    ],
)
def test_the_short_delays_are_those_that_are_over_within_the_short_wait(
    delays_ms: tuple[int, ...], short_wait_ms: int, short: int
) -> None:
    policy = Policy(delays_ms=delays_ms, deadline_margin_ms=0, short_wait_ms=short_wait_ms)
    assert policy.short_delays == short


def test_by_default_a_sale_goes_ahead_within_a_minute() -> None:
    settings = StreamSettings()
    delays = tuple(round(1000 * seconds) for seconds in settings.waiting_delays_seconds)
    policy = Policy(delays_ms=delays, deadline_margin_ms=0, short_wait_ms=round(1000 * settings.short_wait_seconds))
    assert 0 < sum(delays[: policy.short_delays]) < 60_000 < sum(delays)


BY_SESSION = event(session_id="s-1")
BY_VISITOR = event(ym_uid="100")
BY_BOTH = event(session_id="s-1", ym_uid="100")
BY_CLICK = event(yclid="55")
BY_PHONE = event(phone_md5="f09f2c3d48f31e2a802944ade2e5aec5")
BY_SESSION_AND_EMAIL = event(session_id="s-1", email_md5="3c56ff8fef0f6c65b36b2d25720fe276")
BY_SESSION_AND_CLICK = event(session_id="s-1", yclid="55")


@pytest.mark.parametrize(
    ("of", "occasion", "expected"),
    [
        (BY_SESSION, FIRST, Wait(due=NOW + 10_000)),
        (BY_SESSION, replace(FIRST, attempt=1), Wait(due=NOW + 300_000)),
        (BY_SESSION, LAST, ErrorClass.SESSION_NOT_FOUND),
        (BY_VISITOR, FIRST, Wait(due=NOW + 10_000)),
        (BY_VISITOR, LAST, "session_missing"),
        (BY_VISITOR, SECOND, "session_missing"),
        (BY_BOTH, SECOND, "session_missing"),
        (BY_SESSION_AND_CLICK, SECOND, "session_missing"),
        (BY_SESSION_AND_EMAIL, SECOND, "session_missing"),
        (BY_VISITOR, replace(SECOND, went_ahead=True), Wait(due=NOW + 300_000)),
        (BY_VISITOR, replace(LAST, went_ahead=True), GivenUp()),
        (BY_BOTH, replace(LAST, went_ahead=True), Rekey(key=b"u:100")),
        (BY_BOTH, replace(UNDER_VISITOR, went_ahead=True), GivenUp()),
        (BY_BOTH, FIRST, Wait(due=NOW + 10_000)),
        (BY_BOTH, LAST, Rekey(key=b"u:100")),
        (BY_BOTH, UNDER_VISITOR, "session_missing"),
        (BY_SESSION_AND_CLICK, FIRST, Wait(due=NOW + 10_000)),
        (BY_SESSION_AND_CLICK, LAST, "session_missing"),
        (BY_CLICK, FIRST, "session_missing"),
        (event(user_id="me"), FIRST, "session_missing"),
        (event(purchase_id="p"), FIRST, "session_missing"),
        (BY_PHONE, FIRST, "session_missing"),
        (BY_SESSION_AND_EMAIL, FIRST, Wait(due=NOW + 10_000)),
        (BY_SESSION_AND_EMAIL, LAST, "session_missing"),
        (event(), FIRST, ErrorClass.EVENT_INVALID),
    ],
)
def test_without_a_session_the_event_waits_and_then_its_own_ids_decide(
    of: RawEvent, occasion: Occasion, expected: object
) -> None:
    outcome = decide(of, occasion=occasion)
    if isinstance(outcome, Rejected):
        assert outcome.reason.error_class == expected
        assert outcome.reason.attempts == occasion.attempt + 1
    elif isinstance(outcome, Resolved | Ahead):
        assert expected == "session_missing"
        assert isinstance(outcome, Ahead) == (occasion is SECOND)
        assert outcome.conversion.session_missing
        assert outcome.conversion.row_id is None
        assert not outcome.conversion.creates_row
    else:
        assert outcome == expected


@pytest.mark.parametrize(
    ("of", "waiting_over", "key"),
    [
        (BY_SESSION, False, b"s:s-1"),
        (BY_BOTH, False, b"s:s-1"),
        (BY_BOTH, True, b"u:100"),
        (BY_VISITOR, False, b"u:100"),
        (BY_CLICK, False, None),
        (BY_SESSION, True, None),
    ],
)
def test_a_given_session_comes_before_the_visitor(of: RawEvent, waiting_over: bool, key: bytes | None) -> None:
    assert lookup_key(of, waiting_over=waiting_over) == key


def test_a_conversion_carries_its_session_and_where_it_came_from() -> None:
    found = session("s-1", ym_uid="100", yclid="9", user_id="me", creates_row=False)
    result = conversion(
        event(session_id="s-1", order_id="7", purchase_id="p"), found, occasion=replace(FIRST, attempt=1)
    )
    assert result.row_id == "row-of-s-1"
    assert (result.client_id, result.yclid, result.user_id, result.purchase_id) == ("100", "9", "me", "p")
    assert (result.raw_partition, result.raw_offset, result.attempts) == (3, 44, 1)
    assert (result.session_at, result.order_id, result.resolved_at) == (found.session_at, "7", NOW)
    assert not result.session_missing
    assert not result.creates_row


def test_the_events_own_ids_come_before_the_sessions() -> None:
    of = event(session_id="s-1", ym_uid="200", yclid="8", user_id="you")
    result = conversion(of, session("s-1", ym_uid="100", yclid="9", user_id="me"))
    assert (result.client_id, result.yclid, result.user_id) == ("200", "8", "you")


def test_a_conversion_carries_the_hashed_contacts_of_its_event() -> None:
    assert conversion(BY_PHONE).phone_md5 == BY_PHONE.phone_md5
    known = conversion(BY_SESSION_AND_EMAIL, session("s-1"))
    assert (known.email_md5, known.session_missing) == (BY_SESSION_AND_EMAIL.email_md5, False)


def test_the_deadline_counts_from_the_last_visit_or_else_from_the_receipt() -> None:
    found = session("s-1")
    assert conversion(BY_SESSION, found).deadline_at == found.last_visit_at + LINKABLE_MS - POLICY.deadline_margin_ms
    assert conversion(BY_CLICK).deadline_at == BY_CLICK.received_at + LINKABLE_MS - POLICY.deadline_margin_ms
    assert LINKABLE_MS == 21 * 24 * 3600 * 1000 - 2 * 3600 * 1000


@pytest.mark.parametrize(
    ("given_by_sender", "target", "price", "currency", "chosen_by"),
    [
        ({}, "crm_conversion", "0", "RUB", "default"),
        ({"goal_name": "lead"}, "lead", "0", "RUB", "payload"),
        ({"stage": "won"}, "deal_won", "500", "USD", "stage:won"),
        ({"stage": "won", "goal_name": "deal_won"}, "deal_won", "500", "USD", "payload"),
        ({"stage": "won", "goal_name": "lead"}, "lead", "0", "RUB", "payload"),
        ({"stage": "won", "goal_value": Decimal(3), "currency": "EUR"}, "deal_won", "3", "EUR", "stage:won"),
        ({"stage": "won", "goal_value": Decimal(0)}, "deal_won", "0", "USD", "stage:won"),
        ({"stage": "unheard of"}, "crm_conversion", "0", "RUB", "default"),
        ({"goal_name": ""}, "crm_conversion", "0", "RUB", "default"),
    ],
)
def test_the_senders_word_comes_before_the_rule_and_the_rule_before_the_default(
    given_by_sender: dict[str, Any], target: str, price: str, currency: str, chosen_by: str
) -> None:
    rules = (
        GoalRule(stage="won", goal="deal_won", value=Decimal(500), currency="USD"),
        GoalRule(stage="won", goal="second"),
    )
    result = conversion(event(yclid="1", **given_by_sender), webhook=webhook(rules=rules))
    assert (result.target, result.price, result.currency) == (target, Decimal(price), currency)
    assert (result.goal_rule, result.rules_changed_at) == (chosen_by, 123)


@pytest.mark.parametrize("character", list('/\\&#?="'))
def test_what_metrika_forbids_in_a_goal_is_refused_without_quoting_it(character: str) -> None:
    outcome = decide(event(session_id="s-1", goal_name=f"secret{character}goal"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason.error_class is ErrorClass.GOAL_INVALID
    assert "secret" not in outcome.reason.message


def test_an_unknown_webhook_is_waited_for_before_it_is_refused() -> None:
    assert decide(BY_CLICK, webhook=None) == Wait(due=NOW + 10_000)
    outcome = decide(BY_CLICK, occasion=LAST, webhook=None)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.error_class is ErrorClass.WEBHOOK_UNKNOWN


def test_the_payload_is_the_events_own_or_else_the_body() -> None:
    assert conversion(event(yclid="1", payload='{"n": 1}')).payload == '{"n": 1}'
    assert conversion(event(yclid="1", body="привет".encode())).payload == "привет"
    assert conversion(event(yclid="1", body=b"\xff")).payload == "\ufffd"


optional_id = st.none() | st.sampled_from(["1", "2"])
events = st.builds(
    event,
    session_id=optional_id,
    ym_uid=optional_id,
    yclid=optional_id,
    goal_name=st.none() | st.sampled_from(["lead", "a/b"]),
    stage=st.none() | st.just("won"),
)
occasions = st.builds(
    Occasion,
    attempt=st.integers(0, 5),
    raw_partition=st.just(0),
    raw_offset=st.just(0),
    waiting_over=st.booleans(),
    went_ahead=st.booleans(),
)


@given(events, occasions, st.integers(0, 2**41), st.booleans(), st.booleans())
def test_a_repeat_decides_the_same_but_for_the_time(
    of: RawEvent, occasion: Occasion, later: int, found: bool, configured: bool
) -> None:
    known = session("1") if found else None
    hook = webhook() if configured else None
    first, again = (
        resolve(of, known, hook, occasion=occasion, policy=POLICY, now=moment) for moment in (NOW, NOW + later)
    )
    if isinstance(first, Resolved) and isinstance(again, Resolved):
        assert replace(again.conversion, resolved_at=NOW) == first.conversion
    elif isinstance(first, Ahead) and isinstance(again, Ahead):
        assert replace(again.conversion, resolved_at=NOW) == first.conversion
        assert again.due - first.due == later
    elif isinstance(first, Wait) and isinstance(again, Wait):
        assert again.due - first.due == later
    else:
        assert again == first


@given(events, st.lists(st.integers(0, 10_000_000), max_size=4), st.booleans())
def test_nothing_waits_past_its_limit(of: RawEvent, delays: list[int], configured: bool) -> None:
    policy = replace(POLICY, delays_ms=tuple(delays))
    hook, now, went_ahead = (webhook() if configured else None), NOW, list[bool]()
    for attempt in itertools.count():
        assert attempt <= len(delays)
        occasion = replace(FIRST, attempt=attempt, went_ahead=any(went_ahead))
        outcome = resolve(of, None, hook, occasion=occasion, policy=policy, now=now)
        if not isinstance(outcome, Wait | Ahead):
            break
        went_ahead.append(isinstance(outcome, Ahead))
        now = outcome.due
    assert now <= NOW + sum(delays)
    assert sum(went_ahead) <= 1
    if isinstance(outcome, Rekey):
        over = replace(occasion, waiting_over=True)
        assert outcome.key == visitor_key(of.ym_uid or "")
        final = resolve(of, None, hook, occasion=over, policy=policy, now=now)
        assert isinstance(final, GivenUp if any(went_ahead) else Resolved | Rejected)


def test_a_replay_under_newer_rules_says_which_rules_decided() -> None:
    """The rules of today decide, because that is why people replay; the conversion tells them from those of then."""
    old = webhook(changed_at=100, rules=(GoalRule(stage="won", goal="deal"),))
    new = webhook(changed_at=200, rules=(GoalRule(stage="won", goal="sale"),))
    of = event(yclid="1", stage="won")
    first, replayed = conversion(of, webhook=old), conversion(of, webhook=new)
    assert (first.target, first.goal_rule, first.rules_changed_at) == ("deal", "stage:won", 100)
    assert (replayed.target, replayed.goal_rule, replayed.rules_changed_at) == ("sale", "stage:won", 200)
    assert first.event_id == replayed.event_id
