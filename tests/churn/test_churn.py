"""The short form of ``make churn``: workers and broker go down at random while events flow; every event is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.churn.display import Lines
from tests.churn.report import lines_of
from tests.churn.round import GOALPOST, Plan, Round

pytestmark = pytest.mark.promise


@pytest.mark.timeout(400)
def test_workers_that_are_stopped_and_killed_and_a_broker_that_goes_away_lose_no_event(
    tmp_path: Path, promise_seed: int
) -> None:
    print(f"churn test: seed {promise_seed}")
    outcome = Round(
        plan=Plan(seed=promise_seed, seconds=30, rate_per_s=500), system=GOALPOST, home=tmp_path, display=Lines()
    ).run()
    verdict = "\n".join(lines_of(outcome))
    print(verdict)
    assert outcome.account.clean, verdict
    assert outcome.account.events > 10_000
    assert min(outcome.account.converted, outcome.account.waiting, outcome.account.dead) > 0
