"""How fast rows may be read, so that a reading leaves the database to the site. Pure but for the clock it is given."""

from __future__ import annotations

import time
from collections.abc import Callable

from goalpost.sessions.pages import PAGE_ROWS


class Pace:
    """A limit of rows per second; ``None`` is none."""

    def __init__(self, rows_per_second: float | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rows_per_second = rows_per_second
        self._monotonic = monotonic
        self._free_at = monotonic()

    @property
    def page_rows(self) -> int:
        """Rows of one page: never more than a second's worth, so that a slow pace is an even one."""
        return PAGE_ROWS if self._rows_per_second is None else max(1, min(PAGE_ROWS, int(self._rows_per_second)))

    def spent(self, rows: int) -> None:
        """Say that ``rows`` were read. Time that was not used is not saved up."""
        if self._rows_per_second is not None:
            self._free_at = max(self._free_at, self._monotonic() - 1) + rows / self._rows_per_second

    def pause_seconds(self) -> float:
        """How long to wait before the next page."""
        return max(0.0, self._free_at - self._monotonic()) if self._rows_per_second is not None else 0.0
