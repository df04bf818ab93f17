"""Metrika's request quotas: parallel and daily requests of a token, requests per second of an address.

Numbers: Metrika's documentation, "Quotas" (intro/quotas.md). Time comes in; nothing here reads a clock.
"""

from collections import Counter, defaultdict, deque

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.refusals import Refusal, refusal

SECONDS_PER_DAY = 86_400


class Quotas:
    """Who has asked how often. Not thread-safe: the event loop is its only user."""

    def __init__(self) -> None:
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._parallel: Counter[str] = Counter()
        self._day = 0
        self._today: Counter[str] = Counter()

    def refuse_address(self, address: str, now: float, configuration: Configuration) -> Refusal | None:
        """Count a request of an address; a refusal when it had its share within the last second."""
        recent, limit = self._recent[address], configuration.requests_per_second_per_ip
        while recent and recent[0] <= now - 1:
            recent.popleft()
        if limit is not None and len(recent) >= limit:
            return _refusal("quota_requests_by_ip", "requests per second from one address", limit, configuration)
        recent.append(now)
        return None

    def enter(self, token: str, now: float, configuration: Configuration) -> Refusal | None:
        """Count a request of a token and take one of its parallel places, unless refused. Then `leave` must follow."""
        day = int(now // SECONDS_PER_DAY)
        if day != self._day:  # the daily quota starts again at 00:00 GMT
            self._day, self._today = day, Counter()
        limit = configuration.requests_per_day_per_token
        if limit is not None and self._today[token] >= limit:
            return _refusal("quota_requests_by_uid", "requests per day", limit, configuration)
        limit = configuration.parallel_requests_per_token
        if limit is not None and self._parallel[token] >= limit:
            return _refusal("quota_parallel_requests", "parallel requests", limit, configuration)
        self._today[token] += 1
        self._parallel[token] += 1
        return None

    def leave(self, token: str) -> None:
        """Give the parallel place back."""
        self._parallel[token] -= 1
        if self._parallel[token] <= 0:
            del self._parallel[token]


def _refusal(error_type: str, what: str, limit: int, configuration: Configuration) -> Refusal:
    return refusal(error_type, f"Quota exceeded: {what}, limit: {limit}", status=configuration.quota_status)
