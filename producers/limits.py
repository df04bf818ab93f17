"""How much of the service one sender may take: pure, the time is handed in.

Two limits, for two harms. A *rate* keeps a sender within what was agreed for it. *Places* bound what is in hand at
once, so that the service refuses early instead of growing, and one flood leaves room for everybody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# A burst of so many seconds' worth passes at full speed: CRMs send what a person changed in bulk all at once.
_BURST_SECONDS: Final = 5.0
# Addresses that are remembered, some 4 MB. Beyond that many busy ones, those that come new share one rate.
_MOST_SENDERS: Final = 20_000
_OTHERS: Final = ""


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

    def charge(self, now: float, tokens: int) -> None:
        """Take ``tokens`` more for what has passed already; who comes next waits for them."""
        self._full_at = max(self._full_at, now) + tokens * self._interval

    def is_full(self, now: float) -> bool:
        """Whether it is as if nobody had ever come."""
        return self._full_at <= now


class Rates:
    """One :class:`Rate` per sender that has a limit; at most ``most`` senders are remembered."""

    def __init__(self, clock: Callable[[], float], *, most: int = _MOST_SENDERS) -> None:
        self._clock = clock
        self._most = most
        self._rates: dict[str, Rate] = {}
        self._look_at = 0.0

    def wait_seconds(self, sender: str, per_second: float, *, at_most: float) -> float:
        """As :meth:`Rate.wait_seconds`; the limit of a sender may be another one each time."""
        now = self._clock()
        return self._rate(sender, per_second, now).wait_seconds(now, at_most=at_most)

    def charge(self, sender: str, per_second: float, tokens: int) -> None:
        """As :meth:`Rate.charge`."""
        now = self._clock()
        self._rate(sender, per_second, now).charge(now, tokens)

    def _rate(self, sender: str, per_second: float, now: float) -> Rate:
        rate = self._rates.get(sender)
        if rate is not None and rate.per_second == per_second:
            return rate
        if rate is None and len(self._rates) >= self._most and not self._forgets(now):
            return self._rate(_OTHERS, per_second, now) if sender != _OTHERS else self._added(sender, per_second)
        return self._added(sender, per_second)

    def _added(self, sender: str, per_second: float) -> Rate:
        rate = self._rates[sender] = Rate(per_second)
        return rate

    def _forgets(self, now: float) -> bool:
        """Drop the senders that would get a new rate like theirs, and return whether there is room now."""
        if now >= self._look_at:
            self._rates = {sender: rate for sender, rate in self._rates.items() if not rate.is_full(now)}
            self._look_at = now + 1.0
        return len(self._rates) < self._most


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
