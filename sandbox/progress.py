"""How far a download is: a moving bar on a terminal, a line per tenth everywhere else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

MEGABYTE = 1_000_000


@contextmanager
def meter(title: str, total_bytes: int, report: Callable[[str], None]) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes the number of bytes that came since its last call; any thread may call it."""
    if not sys.stderr.isatty():
        yield Tenths(title, total_bytes, report)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total_bytes)
        yield lambda count: progress.advance(task, count)


class Tenths:
    """Reports each tenth of the whole once."""

    def __init__(self, title: str, total_bytes: int, report: Callable[[str], None]) -> None:
        self._title = title
        self._total_bytes = total_bytes
        self._report = report
        self._bytes = 0
        self._reported = 0
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """Adds `count` bytes, which may be negative."""
        with self._lock:
            self._bytes += count
            tenths = self._bytes * 10 // max(self._total_bytes, 1)
            if tenths > self._reported:
                self._reported = tenths
                done, total = self._bytes // MEGABYTE, self._total_bytes // MEGABYTE
                self._report(f"{self._title}: {tenths * 10} % ({done} of {total} MB)")
