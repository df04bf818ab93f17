"""The join with ten million sessions in its state, against the same join with a hundred thousand.

The sessions are written straight into the store, with the program's own code: through the topic it would take twenty
minutes on this kind of machine, and how they got there makes no difference to a lookup.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]  # it ships no types

from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.identity import session_key, visitor_key
from schemas.topics import DEFAULT_PARTITIONS, SESSIONS
from streams.cluster import identity_of
from streams.sessions import pack
from streams.state.database import shared_cache
from streams.state.folder import claim
from streams.state.store import Changes, Store
from tests.bench import material
from tests.bench.joining import Joiner, goalpost_stream, raw_records
from tests.bench.records import Cluster
from tests.bench.results import Result, Target
from tests.stack import running_stack

_TARGETS: Final = (Target(figure="ratio_to_100k_sessions", at_least=0.8),)
_SIZES: Final = (100_000, 10_000_000)
_QUICK_SIZES: Final = (10_000, 100_000)
_ROUNDS: Final = 3
_EVENTS: Final = 50_000
_SESSIONS_AT_ONCE: Final = 20_000
_MIB: Final = 1024 * 1024


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Measure both sizes, one after the other, on one stack."""
    now = material.now_ms()
    with running_stack(home / "stack") as stack:
        Cluster(stack.kafka_bootstrap_servers).write([material.webhook_record(Registry(stack.schema_registry_url))])
        few, many = (
            _measured(stack, home / str(size), size, now_ms=now) for size in (_QUICK_SIZES if quick else _SIZES)
        )
    value = statistics.median(many[0].events_per_cpu_s)
    of_few = statistics.median(few[0].events_per_cpu_s)
    figures = {
        "sessions": many[0].sessions,
        "ratio_to_100k_sessions": value / of_few,
        "events_per_cpu_s_of_100k_sessions": of_few,
        "events_per_s": statistics.median(many[0].events_per_s),
        "rss_mib": many[1] / _MIB,
        "rss_mib_of_100k_sessions": few[1] / _MIB,
        "disk_mib": sum(file.stat().st_size for file in home.rglob("*.sst")) / _MIB,
    }
    return [Result(bench="join_size", value=value, unit="events/cpu_s", figures=figures, targets=_TARGETS)]


def _measured(stack: Addresses, home: Path, sessions: int, *, now_ms: int) -> tuple[Joiner, int]:
    """The joiner after its rounds, and its resident bytes."""
    registry = Registry(stack.schema_registry_url)
    rounds = [range(place * _EVENTS, (place + 1) * _EVENTS) for place in range(_ROUNDS + 1)]
    asked_for = {number * material.STRIDE % sessions for numbers in rounds for number in numbers}
    _fill(stack, home, sessions, asked_for, now_ms=now_ms)
    with goalpost_stream(stack, home, sessions=sessions) as joiner:
        for place, numbers in enumerate(rounds):
            records = raw_records(registry, numbers, sessions=sessions, now_ms=now_ms)
            joiner.round(numbers, records, measured=place > 0)
        return joiner, int(psutil.Process(joiner.process.pid).memory_info().rss)


def _fill(stack: Addresses, home: Path, sessions: int, asked_for: set[int], *, now_ms: int) -> None:
    """Write a state of ``sessions``: those that are asked for where the join looks for them, the others anywhere."""
    folder = claim(home / "state", identity_of(kafka.admin(stack.kafka_bootstrap_servers)))
    cache = shared_cache()
    stores = [Store(folder.partition(number), cache) for number in range(DEFAULT_PARTITIONS)]
    for start in range(0, sessions, _SESSIONS_AT_ONCE):
        numbers = range(start, min(start + _SESSIONS_AT_ONCE, sessions))
        for store, changes in zip(stores, _changes(numbers, asked_for, now_ms=now_ms), strict=True):
            store.write(changes, {SESSIONS.name: 0}, now=now_ms)
    for store in stores:
        store.flush()
    folder.release()


def _changes(numbers: Iterable[int], asked_for: set[int], *, now_ms: int) -> list[Changes]:
    changes: list[Changes] = [{} for _ in range(DEFAULT_PARTITIONS)]
    for number in numbers:
        visit = material.session(number, now_ms=now_ms)
        packed = pack(visit)
        for key in (session_key(visit.session_id), visitor_key(visit.ym_uid or "")):
            partition = _partition_of(key) if number in asked_for else number % DEFAULT_PARTITIONS
            changes[partition][key] = packed
    return changes


def _partition_of(key: bytes) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % DEFAULT_PARTITIONS)
