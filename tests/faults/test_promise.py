"""The short form of `make faults-metrika`: some of the faults, a hundred conversions each, all at the same time."""

from __future__ import annotations

from typing import Final

import pytest

from tests.faults.cases import CASES
from tests.faults.counting import Verdict
from tests.faults.drill import play_all, postgres_alone

pytestmark = pytest.mark.promise

_CHOSEN: Final = (
    "cut after accept, no list",
    "malformed answer",
    "400 poison rows",
    "401 expired token",
    "refresh refused",
    "kill during the POST",
    "kill before the commit",
)


@pytest.fixture(name="verdicts", scope="module")
def _verdicts(tmp_path_factory: pytest.TempPathFactory, promise_seed: int) -> dict[str, Verdict]:
    folder = tmp_path_factory.mktemp("faults")
    chosen = [case for case in CASES if case.name in _CHOSEN]
    with postgres_alone(folder / "stack") as stack:
        found = play_all(chosen, stack, folder, conversions=100, side_by_side=4, seed=promise_seed)
    return {verdict.case: verdict for verdict in found}


@pytest.mark.parametrize("case", _CHOSEN)
def test_nothing_is_lost_and_nothing_doubled(verdicts: dict[str, Verdict], case: str) -> None:
    assert verdicts[case].violations == ()
