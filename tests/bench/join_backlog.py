"""The join's memory while it works down a backlog of five million small events: it must not grow with the backlog."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from runtime.registry import Registry
from schemas.contracts import RAW_EVENTS
from schemas.events import RawEvent
from schemas.records import Outgoing
from schemas.topics import CONVERSIONS, RAW
from tests.bench import material
from tests.bench.joining import goalpost_stream
from tests.bench.records import Cluster
from tests.bench.results import Result, Target, require
from tests.stack import running_stack

_EVENTS: Final = 5_000_000
_QUICK_EVENTS: Final = 200_000
# So many different events; the others repeat their bytes, which the join does not notice.
_DIFFERENT: Final = 1000
_PATIENCE_SECONDS: Final = 1200.0
_LOOK_SECONDS: Final = 1.0
_MIB: Final = 1024 * 1024
_TARGETS: Final = (Target(figure="growth_after_first_tenth", at_most=1.2),)


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Write the backlog, start the join, and look at its resident memory once a second until the last event is out."""
    events = _QUICK_EVENTS if quick else _EVENTS
    with running_stack(home / "stack") as stack:
        registry, cluster = Registry(stack.schema_registry_url), Cluster(stack.kafka_bootstrap_servers)
        cluster.write([material.webhook_record(registry)])
        since = cluster.ends(CONVERSIONS.name)
        cluster.write(_small_events(registry, events))
        began = time.monotonic()
        with goalpost_stream(stack, home, sessions=0) as joiner:
            process = psutil.Process(joiner.process.pid)
            rss: list[tuple[int, float]] = []
            while not rss or rss[-1][0] < events:
                joiner.process.require_alive()
                require(time.monotonic() - began < _PATIENCE_SECONDS, "the backlog was not worked down in time")
                time.sleep(_LOOK_SECONDS)
                written = sum(cluster.ends(CONVERSIONS.name).values()) - sum(since.values())
                rss.append((written, process.memory_info().rss / _MIB))
            seconds = time.monotonic() - began
    at_tenths = {f"rss_mib_after_{tenth}_tenths": _at(rss, events * tenth // 10) for tenth in range(1, 11)}
    first, peak = at_tenths["rss_mib_after_1_tenths"], max(mib for _, mib in rss)
    figures = {"events": events, "growth_after_first_tenth": peak / first, "peak_rss_mib": peak, **at_tenths}
    return [Result(bench="join_backlog", value=events / seconds, unit="events/s", figures=figures, targets=_TARGETS)]


def _at(rss: list[tuple[int, float]], events: int) -> float:
    """Resident MiB when ``events`` had been written."""
    return next(mib for written, mib in rss if written >= events)


def _small_events(registry: Registry, count: int) -> Iterator[Outgoing]:
    codec = registry.codec(RAW_EVENTS)
    # A click id is enough for a conversion, so none of them has to wait for a session.
    small = [replace(_event(number), body=b"{}", yclid=str(number)) for number in range(_DIFFERENT)]
    records = [material.raw_record(event, codec, topic=RAW.name) for event in small]
    for number in range(count):
        yield records[number % _DIFFERENT]


def _event(number: int) -> RawEvent:
    return replace(material.event(number, sessions=1, now_ms=material.now_ms()), session_id=None, ym_uid=None)
