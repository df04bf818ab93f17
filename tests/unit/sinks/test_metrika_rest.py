"""How long the Metrika sink rests between two looks for work."""

from __future__ import annotations

import pytest

from runtime.lifecycle import STALLED_AFTER_SECONDS
from sinks.metrika.sink import quiet_seconds


@pytest.mark.parametrize(("took", "rests"), [(0.001, 0.05), (0.5, 2.0)])
def test_looking_for_work_never_becomes_the_work(took: float, rests: float) -> None:
    assert quiet_seconds(took) == rests


def test_a_look_that_met_a_frozen_postgres_is_not_followed_by_a_rest_of_minutes() -> None:
    assert quiet_seconds(100.0) < STALLED_AFTER_SECONDS / 2
