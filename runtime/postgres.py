"""How every process connects to Postgres: never hanging for ever, and saying what is wrong with DATABASE_URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import conninfo

from runtime.failures import Fatal
from runtime.lifecycle import Stop

# Transactions are opened where they are needed, and never around a request. A dead network has to show within half a
# minute: until then nothing is stored, and nobody is told.
CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


# A slow answer is no news; after this it is.
_SILENCE_SECONDS: Final = 5.0
# A server that is alive has ended every statement by then, because what is watched has a statement_timeout of a
# minute. Below the age at which a loop counts as stalled: a restart would not make Postgres answer.
_ANSWER_SECONDS: Final = 70.0

T = TypeVar("T")


class BadAddress(Fatal):
    """DATABASE_URL is no connection string; postgresql://user:password@host:port/database is one."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)  # never what it holds: there is a password in it


def check_address(database_url: str) -> None:
    """See whether an address can be understood.

    Raises:
        BadAddress: it cannot.
    """
    try:
        conninfo.conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as exc:
        raise BadAddress from exc


class NoAnswer(psycopg.OperationalError):
    """The server has not answered for so long that its connection is given up."""


class Answers:
    """The answers that a server owes: how long one is waited for, and whether one has been owed for long.

    A server that stands still is worse than one that is gone: its machine goes on acknowledging packets, so TCP sees
    nothing wrong, and the limits that the server itself keeps stand still with it. Written by one thread, read by any.
    """

    def __init__(self, limit_seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        """``limit_seconds`` is asked for while an answer is owed."""
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._asked_at: float | None = None

    @classmethod
    def until(cls, stop: Stop, *, drain_seconds: float) -> Self:
        """Return one that gives up after a little more than a minute, and sooner once a stop is requested."""
        return cls(lambda: drain_seconds if stop.requested else _ANSWER_SECONDS)

    def obstacles(self) -> dict[str, str]:
        """Postgres, if it has owed an answer for a while."""
        asked_at = self._asked_at
        silence = 0.0 if asked_at is None else self._clock() - asked_at
        return {"postgres": f"no answer for {silence:.0f} s"} if silence > _SILENCE_SECONDS else {}

    def awaited(self, exchange: Generator[Any, Any, T], give_up: Callable[[], None]) -> Generator[Any, Any, T]:
        """Go through ``exchange``, psycopg's generator of one statement, which is told whenever nothing has arrived.

        Raises:
            NoAnswer: the limit is over; ``give_up`` has been called.
        """
        asked_at = self._asked_at = self._clock()
        try:
            wanted = next(exchange)
            while True:
                arrived = yield wanted
                if not arrived and self._clock() - asked_at > self._limit_seconds():
                    give_up()
                    raise NoAnswer
                wanted = exchange.send(arrived)
        except StopIteration as end:
            answer: T = end.value
            return answer
        finally:
            self._asked_at = None


class AnsweringConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits for ``answers``, where it has them, as long as these say."""

    answers: Answers | None = None

    @classmethod
    def opened(cls, database_url: str, *, application_name: str, answers: Answers | None) -> Self:
        """Connect as every process does (:data:`CONNECTION`)."""
        connection = cls.connect(database_url, application_name=application_name, **CONNECTION)
        connection.answers = answers
        return connection

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Consume ``gen`` as psycopg does; called for every statement, every part of a COPY, every COMMIT."""
        awaited = gen if self.answers is None else self.answers.awaited(gen, self.pgconn.finish)
        return super().wait(awaited, *args, **kwargs)
