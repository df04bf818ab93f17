"""The stack that integration tests run against: the sandbox's, or containers for people who have Docker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goalpost.topics.commands import apply
from sandbox.stack import Addresses, Stack
from schemas.topics import DEFAULT_PARTITIONS
from sinks.postgres.migrate import migrate


@contextmanager
def running_stack(home: Path) -> Iterator[Addresses]:
    """Give the addresses of a fresh stack with topics, schemas and tables.

    ``GOALPOST_TEST_STACK=containers`` takes testcontainers instead of the embedded sandbox.
    """
    if os.environ.get("GOALPOST_TEST_STACK") == "containers":
        from tests.containers import container_stack  # noqa: PLC0415 - needs a Docker engine

        source = container_stack()
    else:
        source = _embedded(home)
    with source as addresses:
        apply(
            addresses.kafka_bootstrap_servers,
            addresses.schema_registry_url,
            partitions=DEFAULT_PARTITIONS,
            replication=1,
            report=lambda _: None,
        )
        migrate(addresses.database_url, lambda _: None)
        yield addresses


@contextmanager
def _embedded(home: Path) -> Iterator[Addresses]:
    with Stack(home) as stack:
        yield stack.start()
