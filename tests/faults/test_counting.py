"""The count itself: it sees every way to break the promise; and the page tells of every case."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.__main__ import PAGE
from tests.faults.cases import CASES
from tests.faults.counting import Conversion, Effort, Verdict, judge
from tests.faults.table import cells, markdown

EFFORT = Effort(uploads=1, lists=1, tokens=0, seconds=1.0)
A, B, C = ("1", "paid"), ("2", "paid"), ("3", "metrika_refuses")
STAGES = {A: "processed", B: "processed", C: "failed"}


def count(accepted: Sequence[Conversion], *, poisonous: int = 1, **stages: str) -> Verdict:
    named = {"a": A, "b": B, "c": C}
    changed = STAGES | {named[name]: stage for name, stage in stages.items()}
    return judge(
        case="case", happens="something", stages=changed, accepted=accepted, poisonous=poisonous, effort=EFFORT
    )


def test_each_once_and_the_poisonous_one_failed_is_the_promise_kept() -> None:
    verdict = count([A, B])

    assert verdict.kept
    assert (verdict.once, verdict.twice, verdict.never, verdict.refused) == (2, 0, 0, 1)


@pytest.mark.parametrize(
    ("verdict", "violation"),
    [
        (count([A, B, B]), "1 accepted more than once"),
        (count([A]), "1 lost"),
        (count([A, B, C]), "1 failed although Metrika accepted"),
        (count([A], b="failed"), "1 failed more or less than the poisonous ones"),
        (count([A], b="uploaded"), "1 lost"),
        (count([A], b="batched"), "1 still batched"),
        (count([A, B, ("4", "paid")]), "1 accepted that nobody stored"),
    ],
)
def test_every_way_to_break_the_promise_is_seen(verdict: Verdict, violation: str) -> None:
    assert not verdict.kept
    assert violation in verdict.violations
    assert violation in cells(verdict)[-1]


def test_the_page_has_every_case_and_none_that_broke_the_promise() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}

    assert list(rows)[2:] == [case.name for case in CASES]
    assert all(rows[case.name].endswith(" | yes |") for case in CASES)


def test_the_table_has_a_line_for_each_verdict() -> None:
    assert len(markdown([count([A, B])] * 3).splitlines()) == 5
