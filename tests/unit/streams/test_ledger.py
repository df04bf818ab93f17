"""Commits follow what is done, never what merely came later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Incoming
from streams.ledger import Ledger, Run


def run(first: int, last: int) -> Run:
    return Run(
        [
            Incoming(topic="t", partition=0, offset=offset, timestamp=0, key=None, value=None)
            for offset in range(first, last + 1)
        ]
    )


def ledger_of(*runs: Run) -> Ledger:
    ledger = Ledger()
    for each in runs:
        ledger.fetched(each)
    return ledger


def test_nothing_is_committed_past_a_run_that_is_not_done() -> None:
    first, second, third = run(0, 99), run(100, 100), run(101, 200)
    ledger = ledger_of(first, second, third)
    first.done = third.done = True
    assert ledger.committable() == 100
    ledger.committed(100)
    assert ledger.committable() is None
    second.done = True
    assert ledger.committable() == 201


def test_what_is_done_stays_uncommitted_until_kafka_knows_and_holds_no_records() -> None:
    first, second = run(0, 9), run(10, 19)
    ledger = ledger_of(first, second)
    first.finish()
    assert ledger.committable() == ledger.committable() == 10, "a commit that failed is tried again"
    assert (ledger.uncommitted(), first.records) == ([first, second], ())
    ledger.committed(10)
    assert ledger.uncommitted() == [second]


def test_a_hole_of_one_holds_the_commit_back() -> None:
    """Faust 0.15.3 itself would skip it (issue 606)."""
    hole, rest = run(0, 0), run(1, 5)
    ledger = ledger_of(hole, rest)
    rest.done = True
    assert ledger.committable() is None


def test_what_is_read_again_replaces_what_was_dropped() -> None:
    dropped, also_dropped, again = run(10, 19), run(20, 29), run(10, 25)
    ledger = ledger_of(dropped, also_dropped, again)
    dropped.done = also_dropped.done = True  # done late, by someone who still held them
    assert ledger.committable() is None
    again.done = True
    assert ledger.committable() == 26


def test_gaps_that_compaction_left_between_runs_do_not_hold_anything_back() -> None:
    first, second = run(0, 3), run(90, 92)
    first.done = second.done = True
    assert ledger_of(first, second).committable() == 93


def test_only_runs_that_are_not_done_are_in_flight() -> None:
    first, second = run(0, 9), run(10, 14)
    ledger = ledger_of(first, second)
    second.done = True
    assert ledger.unfinished() == [first]
    assert first.bytes_held == 10 * 1024


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 19), st.booleans()), max_size=60),
)
def test_the_committed_offset_never_passes_the_first_run_that_is_not_done(
    lengths: list[int], steps: list[tuple[int, bool]]
) -> None:
    runs, offset = [], 0
    for length in lengths:
        runs.append(run(offset, offset + length - 1))
        offset += length
    ledger, committed = ledger_of(*runs), 0
    for index, look in steps:
        runs[index % len(runs)].done = True
        if look:
            committed = ledger.committable() or committed
            ledger.committed(committed)
        unfinished = next((each.first_offset for each in runs if not each.done), offset)
        assert committed <= unfinished
    assert (ledger.committable() or committed) == next((each.first_offset for each in runs if not each.done), offset)
