"""The count is worth something only if it finds what is planted."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from schemas.records import Incoming
from schemas.topics import WAITING
from tests.churn.accounting import Account, Found, Sent, account, still_waiting
from tests.churn.report import lines_of
from tests.churn.round import Outcome
from tests.churn.schedule import Action, Blow, Outage, schedule
from tests.churn.traffic import Report, Visit, traffic

SENT = [
    Sent(event_id=name, place=(0, offset), rows=frozenset({f"row-{name}"}), session_was_first=name != "late")
    for offset, name in enumerate(["first", "second", "late", "waiting", "dead"])
]
ALL_WELL = Found(
    converted={"first": ["row-first"], "second": ["row-second"], "late": [None]},
    waiting=frozenset({"waiting"}),
    dead=frozenset({"dead"}),
    committed={0: 5},
)
DEAD_LETTER_IS_RIGHT = [
    replace(sent, session_was_first=sent.session_was_first and sent.event_id != "dead") for sent in SENT
]


def counted(**changes: Any) -> Account:
    return account(DEAD_LETTER_IS_RIGHT, replace(ALL_WELL, **changes))


def converted(**changes: list[str | None]) -> Mapping[str, list[str | None]]:
    return {**ALL_WELL.converted, **changes}


def test_a_round_in_which_every_event_is_in_one_place_is_clean() -> None:
    found = counted()
    assert found.clean
    assert (found.events, found.converted, found.waiting, found.dead, found.repeats) == (5, 3, 1, 1, 0)


@pytest.mark.parametrize("place", ["converted", "waiting", "dead"])
def test_an_event_that_is_nowhere_is_lost(place: str) -> None:
    found = counted(**{place: type(getattr(ALL_WELL, place))()})
    assert found.lost
    assert not found.complete
    assert not found.clean


def test_an_event_that_is_nowhere_but_not_committed_is_unread() -> None:
    found = counted(dead=frozenset(), committed={0: 4})
    assert ([sent.event_id for sent in found.unread], found.lost) == (["dead"], ())
    assert not found.clean


def test_repeats_are_counted_and_allowed() -> None:
    found = counted(
        converted=converted(first=["row-first", "row-first", "row-first"]), waiting=frozenset({"first", "waiting"})
    )
    assert found.clean
    assert found.repeats == 2


@pytest.mark.parametrize("rows", [["row-second"], [None], ["row-first", "row-second"], [None, "row-second"]])
def test_a_wrong_session_is_found(rows: list[str | None]) -> None:
    found = counted(converted=converted(first=rows))
    assert [sent.event_id for sent in found.misjoined] == ["first"]
    assert not found.clean


def test_what_went_ahead_of_its_session_and_got_it_later_is_where_it_belongs() -> None:
    found = counted(converted=converted(first=[None, "row-first"]))
    assert found.misjoined == counted(converted=converted(first=["row-first"])).misjoined


def test_a_dead_letter_of_an_event_whose_session_was_there_first_is_wrong() -> None:
    assert [sent.event_id for sent in account(SENT, ALL_WELL).misjoined] == ["dead"]


def test_an_event_with_two_ends_is_found() -> None:
    found = counted(dead=frozenset({"dead", "first"}))
    assert [sent.event_id for sent in found.contradicted] == ["first"]
    assert not found.clean


def test_the_verdict_names_what_is_lost_and_where() -> None:
    found = counted(converted={})
    lines = lines_of(Outcome(account=found, done={"kill -9": 2}, happened={}, seconds=1))
    assert lines[-1] == "3 lost"
    assert "3 lost: partition 0, offsets 0-2" in lines


def waiting_record(offset: int, event_id: str | None, released: int | None = None) -> Incoming:
    headers = [("event_id", event_id.encode())] if event_id else []
    headers += [("waiting.released", str(released).encode())] if released is not None else []
    return Incoming(
        topic=WAITING.name,
        partition=0,
        offset=offset,
        timestamp=0,
        key=b"k",
        value=b"v" if event_id else None,
        headers=tuple(headers),
    )


def test_what_was_released_does_not_wait_and_what_waits_again_does() -> None:
    records = [
        waiting_record(0, "done"),
        waiting_record(1, "again"),
        waiting_record(2, None, 0),
        waiting_record(3, "again", 1),
    ]
    assert still_waiting(records) == {"again"}


def test_a_seed_makes_the_same_round_again() -> None:
    def made(seed: int) -> object:
        choice = random.Random(seed)
        flow = traffic(choice, seconds=5, rate_per_s=50, waiting_seconds=2, poison=True)
        return flow, schedule(choice, seconds=60)

    assert made(1) == made(1)
    assert made(1) != made(2)


@pytest.mark.parametrize("seed", range(20))
def test_every_round_stops_kills_and_starts_workers_and_takes_the_broker_down_once(seed: int) -> None:
    steps = schedule(random.Random(seed), seconds=30)
    actions = {step.action for step in steps if isinstance(step, Blow)}
    assert actions >= {Action.STOP, Action.KILL}
    assert actions & {Action.START, Action.START_ELSEWHERE}
    assert sum(isinstance(step, Outage) for step in steps) == 1


def test_sessions_come_before_after_long_after_and_never() -> None:
    arrivals = traffic(random.Random(1), seconds=30, rate_per_s=50, waiting_seconds=4, poison=True)
    came = {what.session_id: at for at, what in arrivals if isinstance(what, Visit)}
    reports = [(at, what) for at, what in arrivals if isinstance(what, Report)]
    assert len(reports) == 1500
    lateness = [came[what.session_id] - at for at, what in reports if what.session_id in came]
    assert any(late < 0 for late in lateness)
    assert any(0 < late < 4 for late in lateness)
    assert any(late > 4 for late in lateness)
    assert any(what.session_id is not None and what.session_id not in came for _, what in reports)
    assert any(what.poison for _, what in reports)
