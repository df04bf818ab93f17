"""What people see of a round: a moving bar above its lines on a terminal, only the lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_COLUMNS: Final = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())


class Display(Protocol):
    """Where a round says what happens."""

    def line(self, text: str) -> None:
        """Say something."""

    def moved(self, share: float) -> None:
        """Say how much of the traffic has been sent, from 0 to 1 and beyond."""


class Lines:
    """For logs."""

    def line(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)

    def moved(self, share: float) -> None:
        """Logs do not move."""


class Bar:
    """For terminals."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=1.0)

    def line(self, text: str) -> None:
        """Print it above the bar."""
        self._progress.console.print(text, highlight=False)

    def moved(self, share: float) -> None:
        """Move the bar; when it is full, the workers finish what there is."""
        over = share >= 1
        description = f"{self._title}: waiting for the end" if over else f"{self._title}: events flow"
        self._progress.update(self._task, completed=min(share, 1.0), description=description)


@contextmanager
def display(title: str) -> Iterator[Display]:
    """Give the display that fits standard output."""
    if not sys.stdout.isatty():
        yield Lines()
        return
    with Progress(*_COLUMNS, console=Console(), transient=True) as progress:
        yield Bar(progress, title)
