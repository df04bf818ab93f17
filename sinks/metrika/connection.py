"""Connections to Postgres that cannot hang for ever. Advisory locks and LISTEN need the server itself, or a pooler in
session mode: a pooler in transaction mode gives each statement another session."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import Connection, conninfo
from psycopg_pool import ConnectionPool

from runtime.failures import Fatal

_OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,  # transactions are opened where they are needed, and never around a request
    "connect_timeout": 5,
    # A dead network shows within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# Generous, because a full batch is one statement; but nothing waits for somebody else's forgotten transaction.
_SESSION: Final = "SET statement_timeout = '5min'; SET lock_timeout = '20s'; SET TimeZone = 'UTC'"

_POOL_SECONDS: Final = 10.0


class BadAddress(Fatal):
    """DATABASE_URL is no connection string; postgresql://user:password@host:port/database is one."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)  # never what it holds: there is a password in it


def check_address(url: str) -> None:
    """Raise :class:`BadAddress` unless ``url`` can be understood."""
    try:
        conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as exc:
        raise BadAddress from exc


def connect(url: str, *, application_name: str) -> Connection:
    """Open a connection in autocommit mode."""
    connection = psycopg.connect(url, application_name=application_name, **_OPTIONS)
    _configure(connection)
    return connection


def pool(url: str, *, application_name: str, size: int) -> ConnectionPool:
    """Return a pool of at most ``size`` such connections; its ``with`` block opens and closes it."""
    return ConnectionPool(
        url,
        kwargs={**_OPTIONS, "application_name": application_name},
        min_size=1,
        max_size=size,
        timeout=_POOL_SECONDS,
        configure=_configure,
        reset=_unlock,
        open=False,
    )


def _configure(connection: Connection) -> None:
    connection.execute(_SESSION)


def _unlock(connection: Connection) -> None:
    # A round that ended in an error must not leave its counter locked on a connection that lives on.
    connection.execute("SELECT pg_advisory_unlock_all()")
