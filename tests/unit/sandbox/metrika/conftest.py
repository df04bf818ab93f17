"""One simulator process for all tests of this folder."""

from collections.abc import Iterator

import pytest
import requests

from sandbox.metrika import Configuration, RunningSimulator, running
from tests.unit.sandbox.metrika.client import Client


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    # The quota per address would meet a fast test long before it meets a real client.
    settings = Configuration(requests_per_second_per_ip=None)
    database = tmp_path_factory.mktemp("metrika") / "accepted.sqlite"
    with running(database=database, configuration=settings) as started:
        yield started


@pytest.fixture
def client(simulator: RunningSimulator) -> Iterator[Client]:
    """A client of the shared process; rules and settings are as at the start before and after each test."""
    yield Client(simulator.url)
    for path in ("faults", "config"):
        requests.delete(f"{simulator.url}/_control/{path}", timeout=10).raise_for_status()
