"""Whether a sender's request is taken in hand now, a little later, or not.

amoCRM switches a hook off after 100 answers outside 2xx in two hours, and Bitrix24 never repeats. So a sender that
cannot be refused is slowed down instead: its requests wait for their turn, at most a second; amoCRM waits two.
"""

from __future__ import annotations

import time
from typing import Final

from producers.exchange import Answer, too_fast, unavailable
from producers.limits import Places, Rates

_LONGEST_WAIT_SECONDS: Final = 1.0
_FULL: Final = unavailable("the service has too much in hand")


class Admission:
    """Counts what every sender has in hand and how fast it comes; 0 ``per_second`` is no limit."""

    def __init__(self, *, max_in_flight: int, per_second: float) -> None:
        self._places = Places(max_in_flight)
        self._rates = Rates(time.monotonic)
        self._per_second = per_second

    def enter(self, sender: str, per_second: float | None, *, refusable: bool) -> Answer | float:
        """Return why a request of ``sender`` is refused. Otherwise it is in hand, until :meth:`leave`.

        A number is how many seconds it should wait for its turn. ``per_second`` of ``None`` is the usual rate.
        """
        if not self._places.enter(sender):
            return _FULL
        limit = self._per_second if per_second is None else per_second
        if not limit:
            return 0.0
        longest = 0.0 if refusable else _LONGEST_WAIT_SECONDS
        wait = self._rates.wait_seconds(sender, limit, at_most=longest)
        if wait > 0 and refusable:
            self._places.leave(sender)
            return too_fast(wait)
        return min(wait, longest)

    def charge(self, sender: str, per_second: float, requests: int) -> None:
        """Count a request of ``sender`` as so many more than one."""
        if per_second:
            self._rates.charge(sender, per_second, requests)

    def leave(self, sender: str) -> None:
        """Say that a request of ``sender`` is answered."""
        self._places.leave(sender)
