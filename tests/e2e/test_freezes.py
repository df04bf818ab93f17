"""Kafka stands still under load and goes on, and so does every process by itself. ``make outages`` is the long form."""

from __future__ import annotations

import time

import pytest

from sandbox.pipeline import Pipeline
from tests.outages.round import play
from tests.outages.schedule import schedule

SEED = 2026


@pytest.mark.timeout(400)
def test_after_freezes_of_the_broker_every_process_goes_on_by_itself_and_no_event_is_lost_or_doubled(
    pipeline: Pipeline,
) -> None:
    blows = schedule(SEED, freezes=2, kills=0, shortest=12, longest=20)
    outcome = play(pipeline, blows, rate_per_s=10, run=f"f{time.time_ns() // 1_000_000_000}")
    assert outcome.refused == []
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.events > 100
    assert outcome.wedges == []
    assert outcome.restarts == {}
