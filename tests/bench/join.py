"""The join: events per CPU second, against a plain loop that does the same and against Faust as usually written.

CPU seconds of exactly the joining process, because broker and measurement share the machine with it. Each process has
its sessions loaded before its clock starts, stands still while its events are written, and has to put exactly the
expected conversion of each into its output topic.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import RESOLVED_CONVERSIONS
from schemas.events import Conversion
from tests.bench import idiomatic_join, material, plain_join
from tests.bench.joining import Joiner, addresses_for, goalpost_stream, joiner_of, raw_records
from tests.bench.processes import Process
from tests.bench.records import Cluster
from tests.bench.results import Result, Target, median_ratio, require
from tests.stack import running_stack

_TARGETS: Final = (
    Target(figure="ratio_to_plain_loop", at_least=0.8),
    Target(figure="ratio_to_idiomatic", at_least=10),
)
# Faust needs minutes to put 100 000 sessions into a Table; what it spends on an event does not depend on their number.
_IDIOMATIC_SESSIONS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is joined: in each of ``rounds`` so many events by goalpost and the plain loop, fewer by usual Faust."""

    sessions: int
    rounds: int
    events: int
    idiomatic_events: int


FULL: Final = Size(sessions=material.SESSION_COUNT, rounds=3, events=100_000, idiomatic_events=10_000)
QUICK: Final = Size(sessions=10_000, rounds=2, events=20_000, idiomatic_events=2_000)


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Measure the join of events with 100 000 sessions, nothing late."""
    with running_stack(home / "stack") as stack:
        return [_measured(stack, home, QUICK if quick else FULL)]


def _measured(stack: Addresses, home: Path, size: Size) -> Result:
    now = material.now_ms()
    registry, cluster = Registry(stack.schema_registry_url), Cluster(stack.kafka_bootstrap_servers)
    cluster.create(*_own_topics())
    cluster.write([material.webhook_record(registry)])
    cluster.write(material.session_records(registry, count=size.sessions, now_ms=now))
    with goalpost_stream(stack, home, sessions=size.sessions) as ours, _plain(stack, home, size) as plain:
        for place in range(size.rounds + 1):
            numbers = range(place * size.events, (place + 1) * size.events)
            records = raw_records(registry, numbers, sessions=size.sessions, now_ms=now)
            for joiner in (ours, plain):
                joiner.round(numbers, records, measured=place > 0)
    cluster.write(
        material.session_records(registry, count=_IDIOMATIC_SESSIONS, now_ms=now, topic=idiomatic_join.SESSIONS_TOPIC)
    )
    with _idiomatic(stack, home) as idiomatic:
        for place in range(size.rounds + 1):
            numbers = range(place * size.idiomatic_events, (place + 1) * size.idiomatic_events)
            records = raw_records(registry, numbers, sessions=_IDIOMATIC_SESSIONS, now_ms=now)
            idiomatic.round(numbers, records, measured=place > 0)
    for joiner in (ours, plain, idiomatic):
        _verify(joiner, registry, now_ms=now)
    return _result(ours, plain, idiomatic)


def _result(ours: Joiner, plain: Joiner, idiomatic: Joiner) -> Result:
    value = statistics.median(ours.events_per_cpu_s)
    return Result(
        bench="join",
        value=value,
        unit="events/cpu_s",
        figures={
            "ratio_to_plain_loop": median_ratio(ours.events_per_cpu_s, plain.events_per_cpu_s),
            "ratio_to_idiomatic": value / statistics.median(idiomatic.events_per_cpu_s),
            "plain_loop_events_per_cpu_s": statistics.median(plain.events_per_cpu_s),
            "idiomatic_events_per_cpu_s": statistics.median(idiomatic.events_per_cpu_s),
            "events_per_s": statistics.median(ours.events_per_s),
            "plain_loop_events_per_s": statistics.median(plain.events_per_s),
        },
        targets=_TARGETS,
    )


def _own_topics() -> tuple[str, ...]:
    return (
        plain_join.RAW_TOPIC,
        plain_join.CONVERSIONS_TOPIC,
        idiomatic_join.RAW_TOPIC,
        idiomatic_join.SESSIONS_TOPIC,
        idiomatic_join.CONVERSIONS_TOPIC,
    )


@contextmanager
def _plain(stack: Addresses, home: Path, size: Size) -> Iterator[Joiner]:
    with Process("plain-join", ("tests.bench.plain_join",), home=home, settings=addresses_for(stack)) as process:
        process.wait_until_ready()
        yield joiner_of(process, stack, plain_join.RAW_TOPIC, plain_join.CONVERSIONS_TOPIC, size.sessions)


@contextmanager
def _idiomatic(stack: Addresses, home: Path) -> Iterator[Joiner]:
    arguments = ("tests.bench.idiomatic_join", str(2 * _IDIOMATIC_SESSIONS))
    with Process("idiomatic-join", arguments, home=home, settings=addresses_for(stack)) as process:
        process.wait_until_ready()
        yield joiner_of(process, stack, idiomatic_join.RAW_TOPIC, idiomatic_join.CONVERSIONS_TOPIC, _IDIOMATIC_SESSIONS)


def _verify(joiner: Joiner, registry: Registry, *, now_ms: int) -> None:
    """See that the output topic holds the expected conversion of every event, each once, and nothing else."""
    codec = registry.codec(RESOLVED_CONVERSIONS)
    expected = {number for numbers in joiner.numbers for number in numbers}
    places: set[tuple[int, int]] = set()
    for record in joiner.cluster.read(joiner.target, since=joiner.since):
        found = codec.decode(record.value)
        number = material.number_of(found)
        require(number in expected, f"{joiner.process.name}: the conversion of event {number} came twice or unasked")
        expected.remove(number)
        places.add((found.raw_partition, found.raw_offset))
        wrong = _differences(found, material.conversion(number, sessions=joiner.sessions, now_ms=now_ms))
        require(not wrong, f"{joiner.process.name}: the conversion of event {number} has other fields: {wrong}")
    require(not expected, f"{joiner.process.name}: {len(expected)} conversions are missing")
    joined = sum(map(len, joiner.numbers))
    require(len(places) == joined, f"{joiner.process.name}: {joined} conversions name {len(places)} raw records")


def _differences(found: Conversion, wanted: Conversion) -> list[str]:
    """Return the fields that differ, without those that depend on when and where the event was joined."""
    if replace(found, resolved_at=0, raw_partition=0, raw_offset=0) == wanted:
        return []
    names = {one.name for one in fields(Conversion)} - {"resolved_at", "raw_partition", "raw_offset"}
    return sorted(name for name in names if getattr(found, name) != getattr(wanted, name))
