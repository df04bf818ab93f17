"""The join's state: a million sessions from the topic into an empty store, and what that takes of memory and disk.

Counted by the worker itself, from its assignment until it has caught up: reading, decoding, comparing, storing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from runtime.registry import Registry
from tests.bench import material
from tests.bench.joining import goalpost_stream
from tests.bench.records import Cluster
from tests.bench.results import Result, require
from tests.stack import running_stack

_SESSIONS: Final = 1_000_000
_QUICK_SESSIONS: Final = 50_000
_MIB: Final = 1024 * 1024


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Load the sessions; each has two records."""
    sessions = _QUICK_SESSIONS if quick else _SESSIONS
    with running_stack(home / "stack") as stack:
        registry, cluster = Registry(stack.schema_registry_url), Cluster(stack.kafka_bootstrap_servers)
        cluster.write(material.session_records(registry, count=sessions, now_ms=material.now_ms()))
        with goalpost_stream(stack, home, sessions=sessions) as joiner:
            process = psutil.Process(joiner.process.pid)
            memory, cpu_seconds = process.memory_info(), joiner.process.cpu_seconds()
            caught_up = _last_logged(joiner.process.log, "state.caught_up")
        stored = sum(file.stat().st_size for file in (home / "state").rglob("*.sst"))
    require(caught_up["records"] == 2 * sessions, f"{caught_up['records']} of {2 * sessions} records were taken in")
    figures = {
        "records": caught_up["records"],
        "seconds": caught_up["seconds"],
        "process_cpu_us_per_record": cpu_seconds / caught_up["records"] * 1e6,
        "rss_mib": memory.rss / _MIB,
        "disk_mib": stored / _MIB,
    }
    return [Result(bench="join_load", value=caught_up["records_per_second"], unit="records/s", figures=figures)]


def _last_logged(log: Path, event: str) -> dict[str, Any]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event][-1]
