"""How much of the service one sender may take: pure, the time is handed in.

Two limits, for two harms. A *rate* keeps a sender within what was agreed for it. *Places* bound what is in hand at
once, so that the service refuses early instead of growing, and one flood leaves room for everybody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# A burst of so many seconds' worth passes at full speed: CRMs send what a person changed in bulk all at once.
_BURST_SECONDS: Final = 5.0


class Rate:
    """The generic cell rate algorithm (ITU-T I.371): a token bucket that is one number, when it will be full again."""

    __slots__ = ("_full_at", "_interval", "per_second")

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._interval = 1 / per_second
        self._full_at = 0.0

    def wait_seconds(self, now: float, *, at_most: float) -> float:
        """Take a token, and return how long to wait for it; no token is taken where that is longer than ``at_most``."""
        begin = max(self._full_at, now)
        wait = max(0.0, begin + self._interval - now - _BURST_SECONDS)
        if wait <= at_most:
            self._full_at = begin + self._interval
        return wait


class Rates:
    """One :class:`Rate` per sender that has a limit."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rates: dict[str, Rate] = {}

    def wait_seconds(self, sender: str, per_second: float, *, at_most: float) -> float:
        """As :meth:`Rate.wait_seconds`; the limit of a sender may be another one each time."""
        rate = self._rates.get(sender)
        if rate is None or rate.per_second != per_second:
            rate = self._rates[sender] = Rate(per_second)
        return rate.wait_seconds(self._clock(), at_most=at_most)


class Places:
    """What is in hand. Half of the places are for anybody; of the rest nobody has more than an equal share."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._senders: dict[str, int] = {}
        self._taken = 0

    def enter(self, sender: str) -> bool:
        """Take a place, unless none is left for ``sender``; the caller gives it back with :meth:`leave`."""
        taken = self._taken
        if taken >= self._limit:
            return False
        mine = self._senders.get(sender, 0)
        if 2 * taken >= self._limit and mine * (len(self._senders) + 1) >= self._limit:
            return False
        self._taken = taken + 1
        self._senders[sender] = mine + 1
        return True

    def leave(self, sender: str) -> None:
        """Give a place back."""
        self._taken -= 1
        left = self._senders[sender] - 1
        if left:
            self._senders[sender] = left
        else:
            del self._senders[sender]
