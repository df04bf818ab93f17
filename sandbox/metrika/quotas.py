"""Metrika's request quotas: parallel and daily requests of a login, daily ones of a counter, per second of an address.

Numbers: Metrika's documentation, "Quotas" (intro/quotas.md). Time comes in; nothing here reads a clock.
"""

import sqlite3
from collections import Counter, defaultdict, deque

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.refusals import Refusal, refusal

SECONDS_PER_DAY = 86_400

TABLES = "CREATE TABLE IF NOT EXISTS daily (day INTEGER, who TEXT, requests INTEGER, PRIMARY KEY (day, who));"
_ADD = "INSERT INTO daily VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET requests = requests + 1"


class Quotas:
    """Who has asked how often; the day's requests survive the process. The event loop is its only user."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.executescript(TABLES)
        self._connection = connection
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._parallel: Counter[str] = Counter()
        self._day = -1
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

    def enter(self, login: str, counter: int | None, now: float, configuration: Configuration) -> Refusal | None:
        """Count a request of a login and take one of its parallel places, unless refused. Then `leave` must follow."""
        self._turn_to(int(now // SECONDS_PER_DAY))
        daily = [(_login(login), configuration.requests_per_day_per_login, "quota_requests_by_uid")]
        if counter is not None:
            limit = configuration.requests_per_day_per_counter
            daily.append((f"counter {counter}", limit, "quota_requests_by_counter_id"))
        for who, limit, error_type in daily:
            if limit is not None and self._today[who] >= limit:
                return _refusal(error_type, "requests per day", limit, configuration)
        limit = configuration.parallel_requests_per_login
        if limit is not None and self._parallel[login] >= limit:
            return _refusal("quota_parallel_requests", "parallel requests", limit, configuration)
        for who, _, _ in daily:
            self._today[who] += 1
            self._connection.execute(_ADD, (self._day, who))
        self._parallel[login] += 1
        return None

    def leave(self, login: str) -> None:
        """Give the parallel place back."""
        self._parallel[login] -= 1
        if self._parallel[login] <= 0:
            del self._parallel[login]

    def today(self, now: float) -> dict[str, int]:
        """Requests since 00:00 GMT, by `login NAME` and `counter NUMBER`."""
        self._turn_to(int(now // SECONDS_PER_DAY))
        return dict(sorted(self._today.items()))

    def _turn_to(self, day: int) -> None:
        if day != self._day:  # the daily quota starts again at 00:00 GMT
            found = self._connection.execute("SELECT who, requests FROM daily WHERE day = ?", [day])
            self._day, self._today = day, Counter(dict(found.fetchall()))


def _login(login: str) -> str:
    return f"login {login}"


def _refusal(error_type: str, what: str, limit: int, configuration: Configuration) -> Refusal:
    return refusal(error_type, f"Quota exceeded: {what}, limit: {limit}", status=configuration.quota_status)
