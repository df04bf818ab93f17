"""The simulator's own state: its clock, and settings that outlive it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.metrika.configuration import Configuration, InvalidConfiguration
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.simulator import Simulator
from tests.unit.sandbox.metrika.client import eventually


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    made = Simulator(tmp_path / "accepted.sqlite", Configuration(requests_per_second_per_ip=2))
    yield made
    made.close()


def served(simulator: Simulator) -> bool:
    admitted = simulator.admit("127.0.0.1", "any", 1)
    if isinstance(admitted, Refusal):
        return False
    simulator.quotas.leave(admitted)
    return True


def test_a_clock_that_is_set_back_leaves_no_quota_used_up(simulator: Simulator) -> None:
    simulator.change({"clock_offset_seconds": 86_400})
    assert [served(simulator) for _ in range(3)] == [True, True, False]
    simulator.change({"clock_offset_seconds": 0})

    eventually(lambda: served(simulator), seconds=5)


def test_a_wrong_change_changes_nothing_now_or_later(simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration):
        simulator.change({"quota_status": 500, "strict_tokens": True})

    assert simulator.configuration == Configuration(requests_per_second_per_ip=2)
    again = Simulator(tmp_path / "accepted.sqlite", Configuration())
    assert again.configuration == Configuration()
    again.close()


def test_a_changed_setting_wins_over_the_start_until_it_is_taken_back(simulator: Simulator, tmp_path: Path) -> None:
    simulator.change({"quota_status": 420})
    again = Simulator(tmp_path / "accepted.sqlite", Configuration(quota_status=429, strict_tokens=True))

    assert (again.configuration.quota_status, again.configuration.strict_tokens) == (420, True)
    again.reset()
    assert again.configuration == Configuration(strict_tokens=True)
    again.close()
