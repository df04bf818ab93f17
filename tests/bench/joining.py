"""Joining processes under measurement: what each is given, and the rounds in which it works a backlog down."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import RAW_EVENTS
from schemas.records import Outgoing
from schemas.topics import CONVERSIONS, RAW
from tests.bench import material
from tests.bench.processes import Process, free_port
from tests.bench.records import Cluster, Offsets

_ROUND_SECONDS: Final = 180.0


@dataclass(slots=True, kw_only=True)
class Joiner:
    """A joining process between its two topics, and what its rounds gave."""

    process: Process
    cluster: Cluster
    source: str
    target: str
    since: Offsets
    sessions: int
    numbers: list[range] = field(default_factory=list)
    events_per_cpu_s: list[float] = field(default_factory=list)
    events_per_s: list[float] = field(default_factory=list)

    def round(self, numbers: range, records: Sequence[Outgoing], *, measured: bool = True) -> None:
        """Let the process join ``records``, the events of ``numbers``, from the first to the last in one go."""
        since = self.cluster.ends(self.target)
        self.process.pause()
        self.cluster.write(replace(record, topic=self.source) for record in records)
        began, cpu_began = time.monotonic(), self.process.cpu_seconds()
        self.process.resume()
        self.cluster.wait_for(
            self.target,
            since=since,
            records=len(records),
            within_seconds=_ROUND_SECONDS,
            each_look=self.process.require_alive,
        )
        cpu_seconds, seconds = self.process.cpu_seconds() - cpu_began, time.monotonic() - began
        self.numbers.append(numbers)
        if measured:
            self.events_per_cpu_s.append(len(records) / cpu_seconds)
            self.events_per_s.append(len(records) / seconds)


def raw_records(registry: Registry, numbers: range, *, sessions: int, now_ms: int) -> list[Outgoing]:
    """Return the records of the events of ``numbers``, as the webhook service writes them."""
    codec = registry.codec(RAW_EVENTS)
    events = (material.event(number, sessions=sessions, now_ms=now_ms) for number in numbers)
    return [material.raw_record(event, codec, topic=RAW.name) for event in events]


@contextmanager
def goalpost_stream(stack: Addresses, home: Path, *, sessions: int) -> Iterator[Joiner]:
    """Run goalpost's join in ``home``; it is ready when the block begins."""
    port = free_port()
    settings = {
        **addresses_for(stack),
        "GOALPOST_STREAM_PORT": str(port),
        "GOALPOST_STATE_DIR": str(home / "state"),
    }
    with Process("stream", ("goalpost", "stream"), home=home, settings=settings) as process:
        process.wait_until_ready(f"http://127.0.0.1:{port}/readyz")
        yield joiner_of(process, stack, RAW.name, CONVERSIONS.name, sessions)


def joiner_of(process: Process, stack: Addresses, source: str, target: str, sessions: int) -> Joiner:
    """Return a running process as a joiner of what is written from now on."""
    cluster = Cluster(stack.kafka_bootstrap_servers)
    return Joiner(
        process=process,
        cluster=cluster,
        source=source,
        target=target,
        since=cluster.ends(target),
        sessions=sessions,
    )


def addresses_for(stack: Addresses) -> dict[str, str]:
    """Return the settings that say where the stack is."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
    }
