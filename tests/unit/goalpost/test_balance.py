"""Where an event counts, what is missing, and what the figures say."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from goalpost.balance import textfile
from goalpost.balance.commands import as_content
from goalpost.balance.equations import Balance, Equation, Named, received
from goalpost.balance.sightings import Sighting, Sightings, event_key
from goalpost.balance.standing import Seen, Standing, standing_of, what_is_missing

EVENT = uuid.UUID("8d1b6a2e-5c0f-5d4b-9a3e-2f4c6b8d0e1a").bytes
RECENT_MS = 1_000


def _sight(seen: Seen, *, at: int = 1, delivery: bool = False, event: bytes = EVENT, place: str = "t:0:0") -> Sighting:
    return Sighting(event=event, seen=seen, at=at, place=place, delivery=delivery)


@pytest.mark.parametrize(
    ("seen", "standing"),
    [
        (Seen.RAW_BEHIND | Seen.RESOLVED_BEHIND | Seen.ROW, Standing.STORED),
        (Seen.RAW_BEHIND | Seen.LETTER_OPEN | Seen.ROW, Standing.STORED),
        (Seen.RAW_BEHIND | Seen.WAITING, Standing.WAITING),
        (Seen.RAW_BEHIND | Seen.LETTER_OPEN | Seen.LETTER_DONE, Standing.DEAD_LETTERED),
        (Seen.RAW_BEHIND | Seen.LETTER_DISCARDED, Standing.DISCARDED),
        (Seen.RAW_AHEAD, Standing.ON_ITS_WAY),
        (Seen.RAW_BEHIND | Seen.RAW_AHEAD | Seen.LETTER_DONE, Standing.ON_ITS_WAY),
        (Seen.RAW_BEHIND | Seen.RESOLVED_AHEAD, Standing.ON_ITS_WAY),
        (Seen.RAW_BEHIND, Standing.MISSING),
        (Seen.RAW_BEHIND | Seen.RESOLVED_BEHIND, Standing.MISSING),
        (Seen.RAW_BEHIND | Seen.LETTER_DONE, Standing.MISSING),
    ],
)
def test_an_event_stands_in_one_place(seen: Seen, standing: Standing) -> None:
    assert standing_of(seen, recent=False) is standing


def test_what_has_just_moved_is_on_its_way() -> None:
    assert standing_of(Seen.RAW_BEHIND, recent=True) is Standing.ON_ITS_WAY


def test_why_something_should_be_somewhere_is_said() -> None:
    reasons = {what_is_missing(seen) for seen in (Seen.RAW_BEHIND, Seen.RESOLVED_BEHIND, Seen.LETTER_DONE)}

    assert len(reasons) == 3


def test_an_event_is_known_by_its_id_or_where_it_came_in() -> None:
    assert event_key(str(uuid.UUID(bytes=EVENT)), "a:0:1") == EVENT
    assert event_key(None, "a:0:1") == event_key(None, "a:0:1") != event_key(None, "a:0:2")
    assert event_key("no uuid", "a:0:1") == event_key("no uuid", "a:0:2")


class TestSightings:
    def test_deliveries_of_one_event_are_repeats(self) -> None:
        sightings = Sightings()
        sightings.see([_sight(Seen.RAW_BEHIND, delivery=True), _sight(Seen.RAW_BEHIND, delivery=True)])
        sightings.see([_sight(Seen.RAW_BEHIND), _sight(Seen.ROW)])

        totals = sightings.totals(recent_ms=RECENT_MS)

        assert (totals.received, totals.repeats, totals.standing[Standing.STORED]) == (2, 1, 1)

    def test_what_is_nowhere_is_named_with_where_it_was_last(self) -> None:
        sightings = Sightings()
        sightings.see([_sight(Seen.RAW_BEHIND, at=5, delivery=True), _sight(Seen.RESOLVED_BEHIND, at=7, place="c:1:2")])

        assert list(sightings.missing(recent_ms=RECENT_MS)) == [
            (EVENT, Seen.RAW_BEHIND | Seen.RESOLVED_BEHIND, "c:1:2")
        ]
        assert list(sightings.missing(recent_ms=7)) == []

    def test_an_event_that_came_in_earlier_is_not_counted_but_missed(self) -> None:
        sightings = Sightings()
        sightings.see([_sight(Seen.RESOLVED_BEHIND)])

        assert sightings.totals(recent_ms=RECENT_MS).received == 0
        assert len(list(sightings.missing(recent_ms=RECENT_MS))) == 1

    def test_the_waiting_room_is_what_was_not_released(self) -> None:
        sightings, other = Sightings(), uuid.uuid4().bytes
        sightings.see([_sight(Seen.RAW_BEHIND, delivery=True), _sight(Seen.RAW_BEHIND, delivery=True, event=other)])
        sightings.wait(0, 1, EVENT)
        sightings.wait(0, 2, other)

        assert sightings.release(0, 1) == EVENT
        assert sightings.release(0, 1) is None
        sightings.note_who_waits()

        standing = sightings.totals(recent_ms=RECENT_MS).standing
        assert (standing[Standing.WAITING], standing[Standing.MISSING]) == (1, 1)

    def test_chunks_are_all_events_though_they_are_seen_again_meanwhile(self) -> None:
        sightings, events = Sightings(), {uuid.uuid4().bytes for _ in range(10)}
        sightings.see(_sight(Seen.RAW_BEHIND, event=event) for event in events)

        met: list[bytes] = []
        for chunk in sightings.chunks(3):
            sightings.see(_sight(Seen.ROW, event=event) for event in chunk)
            met += chunk

        assert sorted(met) == sorted(events)
        assert sightings.knows(met[0])
        assert not sightings.knows(uuid.uuid4().bytes)


def _balance(*, broken: int) -> Balance:
    sightings = Sightings()
    sightings.see([_sight(Seen.RAW_BEHIND | (Seen(0) if broken else Seen.ROW), delivery=True)])
    named = (Named(name="e", place="t:0:0", why="gone"),) * broken
    equation = received(sightings.totals(recent_ms=RECENT_MS), broken=broken, named=named)
    stored = Equation(name="stored", total=3, parts={"pending": 1, "uploaded": 2})
    return Balance(since="then", equations=(equation, stored), replayed=0, bodies={}, seconds=0.1)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_balance_holds_when_all_its_equations_do(broken: int, tmp_path: Path) -> None:
    balance = _balance(broken=broken)
    textfile.write(balance, tmp_path / "goalpost.prom")

    assert balance.holds is (broken == 0)
    assert as_content(balance)["holds"] is (broken == 0)
    text = (tmp_path / "goalpost.prom").read_text()
    assert f'goalpost_ledger_holds{{equation="received"}} {1.0 - broken}' in text
    assert 'goalpost_ledger_count{equation="stored",part="uploaded"} 2.0' in text


def test_an_equation_whose_sides_differ_does_not_hold() -> None:
    assert not Equation(name="uploaded", total=3, parts={"accepted": 2}).holds
