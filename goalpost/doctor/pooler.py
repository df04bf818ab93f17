"""Whether something stands between goalpost and Postgres that gives each transaction another session: by experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, LiteralString

from psycopg import conninfo

from goalpost.findings import Finding, bad, good
from runtime.postgres import Answers
from sinks.postgres.connection import Connection, PostgresUnavailable, connect, translated_errors

_CHECK: Final = "pooler"
_NAME: Final = "goalpost doctor"
# Between two statements of one client, another one takes what a pooler would have given to the first.
_PID: Final[LiteralString] = "SELECT pg_backend_pid()"
_ANSWER_SECONDS: Final = 5.0
_SUPABASE_POOLER: Final = "6543"
_REMEDY: Final = (
    "goalpost needs sessions of its own (advisory locks, LISTEN, settings). Put the direct connection into "
    "DATABASE_URL, or the pooler's session mode: with Supabase port 5432 instead of 6543, with PgBouncer "
    "pool_mode = session."
)


def pooler(database_url: str) -> Iterator[Finding]:
    """Pooler: one connection is one session of the server, whoever else is connected."""
    with _connected(database_url) as first, translated_errors():
        before = _pid(first)
        direct = before == first.info.backend_pid
        after, why = _pid_beside_another(database_url, first)
    if why or after != before:
        yield bad(_CHECK, f"DATABASE_URL leads through a pooler in transaction mode: {why or _CHANGED}", _REMEDY)
    elif str(conninfo.conninfo_to_dict(database_url).get("port", "")) == _SUPABASE_POOLER and not direct:
        detail = "DATABASE_URL leads to port 6543, Supabase's pooler in transaction mode"
        yield bad(_CHECK, detail, _REMEDY)
    else:
        way = "Postgres answers itself" if direct else "a pooler stands before Postgres, in session mode"
        yield good(_CHECK, f"{way}: each connection is a session")


_CHANGED: Final = "two statements of one connection were answered by two sessions of the server"


def _pid_beside_another(database_url: str, first: Connection) -> tuple[int, str]:
    """Return which session answers ``first`` while another client is in a transaction; else why nobody does."""
    with _connected(database_url) as second, second.transaction():
        _pid(second)
        try:
            with translated_errors():
                return _pid(first), ""
        except PostgresUnavailable:
            return 0, "a connection gets no answer while another one is in a transaction"


def _connected(database_url: str) -> Connection:
    return connect(database_url, application_name=_NAME, answers=Answers(lambda: _ANSWER_SECONDS))


def _pid(connection: Connection) -> int:
    row = connection.execute(_PID).fetchone()
    return int(str(row[0])) if row else 0
