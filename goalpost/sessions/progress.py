"""How a reading shows how far it is: a bar on a terminal, a line now and then elsewhere. Both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from goalpost.console import Screen, say

_LINE_SECONDS: Final = 5.0

# Is told how many rows have been read by now.
Shown = Callable[[int], None]


@contextmanager
def shown(*, begun_with: int, about: int) -> Iterator[Shown]:
    """Show a reading that has ``begun_with`` rows behind it already, of ``about`` so many in all (a guess)."""
    if sys.stderr.isatty():
        with _bar(begun_with, about) as tell:
            yield tell
    else:
        yield lines(begun_with, about, say=lambda line: say(line, err=True))


@contextmanager
def _bar(begun_with: int, about: int) -> Iterator[Shown]:
    columns = (
        TextColumn("sessions"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Screen(stderr=True)) as progress:
        task = progress.add_task("sessions", total=max(about, begun_with), completed=begun_with)

        def tell(rows: int) -> None:
            # The total was a guess: a bar that is full while work goes on would be worse than one that moves back.
            progress.update(task, completed=rows, total=max(about, rows))

        yield tell


def lines(
    begun_with: int, about: int, *, say: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic
) -> Shown:
    """Return what says a line every few seconds."""
    began = told = monotonic()

    def tell(rows: int) -> None:
        nonlocal told
        now = monotonic()
        if now - told >= _LINE_SECONDS:
            told = now
            say(f"{rows} of about {max(about, rows)} rows, {(rows - begun_with) / (now - began):.0f} rows/s")

    return tell
