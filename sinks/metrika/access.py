"""The gate to Metrika: every request passes it, with a token that is good and within the account's quotas.

All uploaders share what is counted here through Postgres: requests of the day, requests at the same time, turns of the
second. An account whose token or quota is used up is closed for a while, and its conversions wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from psycopg import Connection

from runtime.lifecycle import Stop
from runtime.logs import logger
from runtime.metrics import METRIKA_REQUESTS
from sinks.metrika.answers import Throttled, Unauthorized, Unclear, Unsent
from sinks.metrika.ledger import ACCOUNT_QUOTA, ADDRESS_QUOTA, COUNTER_QUOTA, quota_free_at
from sinks.metrika.planning import Budget, day_ends, day_of
from sinks.metrika.renewal import Delayed, Paused, Renewal
from sinks.metrika.tables import accounts, requests
from sinks.metrika.tables.accounts import Account
from sinks.metrika.tables.counters import Counter

_PAUSED: Final = timedelta(minutes=15)

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Metrika's limits (documentation, "Quotas"): of an account at once and a day, of all together a second."""

    parallel: int
    per_second: float
    per_day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closure:
    """An account is left alone until then, or until its token changes, or, if it was paused, until it is resumed."""

    since: datetime
    until: datetime
    sealed_token: str
    paused: bool


class Admission:
    """The right to one request, and to another one where the first shows that the token has to be refreshed."""

    def __init__(self, access: Access, connection: Connection, account: Account) -> None:
        self._access = access
        self._connection = connection
        self._account = account

    def ask(self, operation: str, request: Callable[[str], A]) -> A | Throttled | Unauthorized:
        """Make the request with the account's token; ``operation`` names it in metrics."""
        answer = self._access.ask(self._connection, self._account, request)
        METRIKA_REQUESTS.labels(operation, type(answer).__name__.lower()).inc()
        return answer


class Access:
    """The gate of every account. Any thread may call."""

    def __init__(self, *, renewal: Renewal, quotas: Quotas, clock: Callable[[], datetime], stop: Stop) -> None:
        self._renewal = renewal
        self._quotas = quotas
        self._clock = clock
        self._stop = stop
        self._closures: dict[UUID, _Closure] = {}
        self._throttled_since: dict[UUID, datetime] = {}

    def reopen_resumed(self, counters: Iterable[Counter], *, read_at: datetime) -> None:
        """Open accounts again that were paused and are no more, by ``counters`` as read at ``read_at`` or later."""
        for counter in counters:
            closure = self._closures.get(counter.account_id)
            if closure is not None and closure.paused and closure.since < read_at and not counter.paused:
                self._closures.pop(counter.account_id, None)

    def closed(self, counter: Counter) -> bool:
        """Return whether requests for the counter's account make no sense now."""
        closure = self._closures.get(counter.account_id)
        return closure is not None and closure.sealed_token == counter.sealed_token and self._clock() < closure.until

    def places(self) -> int:
        """Return how many requests of an account may be under way at a time."""
        return self._quotas.parallel

    def budgets(self, connection: Connection) -> Callable[[str], Budget]:
        """Return a reader of what each account, by its number at Yandex, has used of the day."""
        now, per_day = self._clock(), self._quotas.per_day
        used = requests.used(connection, day=day_of(now), now=now)

        def of(uid: str) -> Budget:
            count = used.get(uid, 0)
            return Budget(per_day=per_day, used=per_day if count is None else count)

        return of

    @contextmanager
    def admission(self, connection: Connection, account_id: UUID) -> Iterator[Admission | None]:
        """Hold a place for one request while the block lasts; ``None`` where the account may not make one now."""
        account = accounts.read(connection, account_id)
        renewed = self._renewal.in_time(connection, account)
        if isinstance(renewed, Account):  # else the old token is still good for a while
            account = renewed
        with requests.place_of(
            connection, account.yandex_uid, places=self._quotas.parallel, wait=self._stop.wait
        ) as held:
            yield Admission(self, connection, account) if held and self._reserved(connection, account) else None

    def ask(
        self, connection: Connection, account: Account, request: Callable[[str], A]
    ) -> A | Throttled | Unauthorized:
        """Make a reserved request, and once more with a refreshed token where the first one is refused."""
        answer = self._sent(account, request)
        if isinstance(answer, Unauthorized):
            match self._renewal.after_refusal(connection, account, answer):
                case Account() as renewed:
                    account = renewed
                case Paused():
                    self._close(account, self._clock() + _PAUSED, paused=True)
                    return answer
                case Delayed(until=until):
                    self._close(account, until)
                    return answer
            if not self._reserved(connection, account):
                return Throttled(error_type=ACCOUNT_QUOTA, message="no request of the day is left for the new token")
            answer = self._sent(account, request)
            if isinstance(answer, Unauthorized):
                reason = f"Metrika refuses a token that was just refreshed: {answer.message}."
                self._renewal.pause(connection, account, reason)
                self._close(account, self._clock() + _PAUSED, paused=True)
                return answer
        self._learn(connection, account, answer)
        return answer

    def _sent(self, account: Account, request: Callable[[str], A]) -> A | Unauthorized:
        token = self._renewal.opened(account.access_token)
        if token is None:
            return Unauthorized(message="the stored token does not open with GOALPOST_SECRET_KEY")
        return request(token)

    def _reserved(self, connection: Connection, account: Account) -> bool:
        now = self._clock()
        limit = self._quotas.per_day
        if not requests.reserve(connection, account.yandex_uid, day=day_of(now), limit=limit, now=now):
            # Asked again before long: whether Metrika has the quota free again is in the table, not here.
            self._close(account, min(day_ends(now), now + timedelta(minutes=5)))
            logger().warning("account.budget_used", account=account.name, per_day=limit)
            return False
        return not self._stop.wait(requests.turn_in_seconds(connection, per_second=self._quotas.per_second))

    def _learn(self, connection: Connection, account: Account, answer: object) -> None:
        """Close the account for a quota; end a pause when Metrika takes the token again."""
        now = self._clock()
        match answer:
            case Throttled(error_type=error_type) if error_type != COUNTER_QUOTA:
                until = quota_free_at(answer, now, since=self._throttled_since.setdefault(account.id, now))
                self._close(account, until)
                if error_type == ACCOUNT_QUOTA:
                    requests.rest(connection, account.yandex_uid, day=day_of(now), until=until)
                if error_type == ADDRESS_QUOTA:
                    requests.back_off(connection, seconds=(until - now).total_seconds())
                return
            case Unsent():
                requests.refund(connection, account.yandex_uid, day=day_of(now))
                return
            case Unclear():
                return
        self._throttled_since.pop(account.id, None)
        if account.paused_reason is not None:
            accounts.resume(connection, account.id)
            logger().info("account.resumed", account=account.name)

    def _close(self, account: Account, until: datetime, *, paused: bool = False) -> None:
        token = account.access_token
        self._closures[account.id] = _Closure(since=self._clock(), until=until, sealed_token=token, paused=paused)
