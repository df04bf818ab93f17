"""The short form of ``make churn``: workers and broker go down at random while events flow; every event is found."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.churn.display import Lines
from tests.churn.report import lines_of
from tests.churn.round import GOALPOST, Plan, Round


@pytest.mark.timeout(400)
def test_workers_that_are_stopped_and_killed_and_a_broker_that_goes_away_lose_no_event(tmp_path: Path) -> None:
    """CHURN_SEED plays a round again."""
    seed = int(os.environ.get("CHURN_SEED") or random.randrange(1_000_000))
    print(f"churn test: seed {seed}")
    outcome = Round(
        plan=Plan(seed=seed, seconds=30, rate_per_s=500), system=GOALPOST, home=tmp_path, display=Lines()
    ).run()
    verdict = "\n".join(lines_of(outcome))
    print(verdict)
    assert outcome.account.clean, verdict
    assert outcome.account.events > 10_000
    assert min(outcome.account.converted, outcome.account.waiting, outcome.account.dead) > 0
