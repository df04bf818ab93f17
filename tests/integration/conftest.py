"""One stack for all integration tests; they keep apart by ids of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.stack import Addresses
from tests.stack import running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Kafka, registry and Postgres with topics, schemas and tables."""
    with running_stack(tmp_path_factory.mktemp("stack")) as addresses:
        yield addresses
