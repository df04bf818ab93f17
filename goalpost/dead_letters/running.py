"""What an executed replay and a discard have in common: who does it, and its audit record around it."""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from goalpost.dead_letters.journal import Run, run_record
from goalpost.dead_letters.replay import CHUNK_LETTERS, Send
from goalpost.moment import iso
from schemas.events import EpochMillis

# A rate is kept in steps of this long: often enough to see it flow, seldom enough for transactions of some size.
_STEP_SECONDS: Final = 0.5


def begun(kind: str, selection: str, *, reason: str = "", transform: str = "") -> Run:
    """Return the audit record of a run that starts now, by the user of this process."""
    return Run(
        run_id=str(uuid.uuid4()),
        by=_operator(),
        started_at=iso(now_ms()),
        selection=selection,
        kind=kind,
        reason=reason,
        transform=transform,
    )


def ended(run: Run, sender: Send, *, counts: dict[str, int], stopped: str = "") -> Run:
    """Write and return the complete audit record."""
    complete = replace(run, finished_at=iso(now_ms()), counts=counts, stopped=stopped)
    sender.send([run_record(complete)])
    return complete


def now_ms() -> EpochMillis:
    """Return the time."""
    return time.time_ns() // 1_000_000


def _operator() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user often has no name
        return "unknown"


def chunk_letters(rate: float | None) -> int:
    """Return how many letters to take at once so that ``rate`` letters a second come evenly."""
    return CHUNK_LETTERS if rate is None else max(1, min(CHUNK_LETTERS, round(rate * _STEP_SECONDS)))


def paced(
    chunks: Iterable[list[Any]],
    rate: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Any]]:
    """Yield ``chunks`` at ``rate`` items a second on the average, and as fast as they come without one."""
    began, passed = clock(), 0
    for chunk in chunks:
        if rate is not None:
            sleep(max(0.0, began + passed / rate - clock()))
        yield chunk
        passed += len(chunk)
