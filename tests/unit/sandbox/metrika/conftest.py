"""One simulator process for all tests of this folder."""

from collections.abc import Iterator

import pytest
import requests

from sandbox.metrika import Configuration, RunningSimulator, running
from tests.unit.sandbox.metrika.client import Client

# The quotas would meet fast tests long before they meet a real client.
_SETTINGS = Configuration(requests_per_second_per_ip=None, requests_per_day_per_login=None)


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    database = tmp_path_factory.mktemp("metrika") / "accepted.sqlite"
    with running(database=database, configuration=_SETTINGS) as started:
        yield started


@pytest.fixture
def client(simulator: RunningSimulator) -> Iterator[Client]:
    """A client of the shared process; rules and settings are as at the start before and after each test."""
    yield Client(simulator.url)
    for path in ("faults", "config", "visits"):
        requests.delete(f"{simulator.url}/_control/{path}", timeout=10).raise_for_status()
