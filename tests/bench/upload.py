"""The Metrika sink: a backlog of a million conversions of twenty counters, within one day's requests and flat memory.

The simulator keeps Metrika's documented quotas and checks every line; what it has accepted is counted, not what the
sink says. Rows per second are those of the whole way: claimed, written to the ledger, sent, accepted and told.
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.stack import Addresses
from tests.bench.results import Result, Target, require
from tests.integration.metrika_world import World, world
from tests.stack import running_stack

_COUNTERS: Final = 20
_REQUESTS_PER_DAY: Final = 5000
_PATIENCE_SECONDS: Final = 1800.0
_TARGETS: Final = (
    Target(figure="requests_per_day_used", at_most=0.02),
    Target(figure="peak_rss_mib", at_most=200),
    Target(figure="peak_rss_of_one_file_mib", at_most=200),
)
# Looks at what became of the files follow twice as far apart. How long Metrika is waited for is as by default.
_SETTINGS: Final = {
    "GOALPOST_UPLOAD_INTERVAL_SECONDS": "10",
    "GOALPOST_METRIKA_ANSWER_SECONDS": "40",
    "GOALPOST_METRIKA_SETTLE_SECONDS": "120",
}
# Counting a million rows is work for Postgres, too.
_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One backlog that was uploaded. ``seconds`` from the start of the process to Metrika's last answer."""

    rows: int
    seconds: float
    requests: int
    peak_rss_mib: float
    cpu_seconds: float


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Upload twenty backlogs in files of fifty thousand, and one backlog as a single file."""
    rows = 2_000 if quick else 50_000
    with running_stack(home / "stack") as stack:
        many = _uploaded(stack, home, "many", counters=_COUNTERS, rows=rows, settings=_SETTINGS)
        large = {**_SETTINGS, "GOALPOST_UPLOAD_ROWS": str(10 * rows)}
        one = _uploaded(stack, home, "one", counters=1, rows=10 * rows, settings=large)
    return [
        Result(
            bench="upload",
            value=many.rows / many.seconds,
            unit="rows/s",
            figures={
                "rows": many.rows,
                "counters": _COUNTERS,
                "requests": many.requests,
                "requests_per_day_used": many.requests / _REQUESTS_PER_DAY,
                "rows_per_cpu_s": many.rows / many.cpu_seconds,
                "peak_rss_mib": many.peak_rss_mib,
                "one_file_rows": one.rows,
                "peak_rss_of_one_file_mib": one.peak_rss_mib,
            },
            targets=_TARGETS,
        )
    ]


def _uploaded(stack: Addresses, home: Path, name: str, *, counters: int, rows: int, settings: dict[str, str]) -> _Run:
    folder = home / name
    folder.mkdir()
    with world(stack, folder) as here:
        for number in range(counters):
            here.store(rows, counter=here.add_counter(5000 + number), deadline_in=20 * 86_400)
        here.connection.execute("VACUUM ANALYZE webhook_conversions")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with here.sink(**settings) as process:
            began = time.monotonic()
            peak = _watched(process, lambda: _sent(here) >= counters * rows)
            seconds = time.monotonic() - began
            peak = max(peak, _watched(process, lambda: here.stages()["processed"] == counters * rows))
            process.terminate()
            process.wait(60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        here.assert_each_once(counters * rows)
        asked = sum(sum(here.requests(operation).values()) for operation in ("upload", "list"))
    return _Run(
        rows=counters * rows,
        seconds=seconds,
        requests=asked,
        peak_rss_mib=peak / 2**20,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _sent(here: World) -> int:
    return int(
        here.value("SELECT coalesce(sum(row_count), 0) FROM metrika_uploads WHERE metrika_upload_id IS NOT NULL")
    )


def _watched(process: subprocess.Popen[bytes], done: Callable[[], bool]) -> int:
    """Wait until it is done; return the most memory that the process had meanwhile, in bytes."""
    peak, deadline = 0, time.monotonic() + _PATIENCE_SECONDS
    while not done():
        require(time.monotonic() < deadline, "the backlog was not uploaded in time")
        require(process.poll() is None, "the sink has ended")
        peak = max(peak, _resident(process.pid))
        time.sleep(_LOOK_SECONDS)
    return max(peak, _resident(process.pid))


def _resident(pid: int) -> int:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)  # noqa: S607 - any ps
    return int(shown.stdout) * 1024
