"""Connections to Postgres that cannot hang for ever. Advisory locks and LISTEN need the server itself, or a pooler in
session mode: a pooler in transaction mode gives each statement another session."""

from __future__ import annotations

from typing import Final

from psycopg import Connection
from psycopg_pool import ConnectionPool

from runtime.postgres import CONNECTION, AnsweringConnection, Answers

# Generous, because a full batch is one statement; but nothing waits for somebody else's forgotten transaction.
# goalpost.uploader: this is who asks Metrika, so the database believes it that a file has not arrived (docs/moves.md).
_SESSION: Final = (
    "SET statement_timeout = '5min'; SET lock_timeout = '20s'; SET TimeZone = 'UTC'; SET goalpost.uploader = 'on'"
)

_POOL_SECONDS: Final = 10.0


def connect(url: str, *, application_name: str, answers: Answers | None = None) -> Connection:
    """Open a connection in autocommit mode; with ``answers`` no statement is waited for longer than they say."""
    connection = AnsweringConnection.opened(url, application_name=application_name, answers=answers)
    _configure(connection)
    return connection


def pool(url: str, *, application_name: str, size: int) -> ConnectionPool:
    """Return a pool of at most ``size`` such connections; its ``with`` block opens and closes it."""
    return ConnectionPool(
        url,
        kwargs={**CONNECTION, "application_name": application_name},
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
