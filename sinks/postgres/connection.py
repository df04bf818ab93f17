"""Connections to Postgres that cannot hang for ever, and its errors in the words of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg

from runtime.failures import Fatal, Transient
from runtime.postgres import AnsweringConnection, Answers, check_address
from sinks.postgres.trouble import Trouble, trouble_of

Connection = psycopg.Connection[tuple[object, ...]]

# Timeouts below the consumer's max.poll.interval (five minutes), or the group would take the partitions away meanwhile.
# Time zone: a `timestamp without time zone` column of the site's own table gets UTC.
_SESSION: Final[LiteralString] = """
SET statement_timeout = '60s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '60s';
SET TimeZone = 'UTC'
"""


class PostgresUnavailable(Transient):
    """Postgres does not answer, or cannot work now."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Postgres is not available ({cause})")


class Contention(Transient):
    """Another transaction was in the way; nothing was written."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Postgres: another transaction was in the way ({cause})")


class Misconfigured(Fatal):
    """The database is not as this version of goalpost expects it."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"Postgres refuses to work ({cause}). Run `goalpost migrate`, and check that the role in DATABASE_URL owns "
            "goalpost's tables."
        )


class BadData(Exception):
    """Postgres refuses the content. ``cause`` names the rule that it breaks and never quotes the content."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def connect(database_url: str, *, application_name: str, answers: Answers | None = None) -> Connection:
    """Open a connection in autocommit mode; transactions are opened explicitly.

    With ``answers`` no statement is waited for longer than they say; without, as long as Postgres lets it run.

    Raises:
        BadAddress: ``database_url`` is malformed.
        PostgresUnavailable: no connection within a few seconds.
    """
    check_address(database_url)
    with translated_errors():
        connection = AnsweringConnection.opened(database_url, application_name=application_name, answers=answers)
        connection.execute(_SESSION)
        return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg's errors into this module's.

    Raises:
        PostgresUnavailable: wait, and take a new connection.
        Contention: try again at once.
        BadData: the content is refused; it would be refused again.
        Misconfigured: a person has to act.
    """
    try:
        yield
    except (psycopg.Error, UnicodeError, OverflowError) as exc:
        raise _translated(exc) from exc


def _translated(error: Exception) -> Exception:
    cause = _described(error)
    match _trouble(error):
        case Trouble.OUTAGE:
            return PostgresUnavailable(cause)
        case Trouble.CONTENTION:
            return Contention(cause)
        case Trouble.BAD_DATA:
            return BadData(cause)
        case Trouble.MISCONFIGURED:
            return Misconfigured(cause)


def _trouble(error: Exception) -> Trouble:
    sqlstate = getattr(error, "sqlstate", None)
    # Raised before anything was sent: NUL characters, lone surrogates, numbers that no column holds.
    refused_here = isinstance(error, psycopg.DataError | UnicodeError | OverflowError)
    return Trouble.BAD_DATA if sqlstate is None and refused_here else trouble_of(sqlstate)


def _described(error: Exception) -> str:
    """Name the error without its message: Postgres quotes the offending values there, and they are people's data."""
    if not isinstance(error, psycopg.Error) or error.sqlstate is None:
        return type(error).__name__
    found = error.diag
    return described(error.sqlstate, found.table_name, found.constraint_name, found.column_name)


def described(sqlstate: str, table: str | None, constraint: str | None, column: str | None) -> str:
    """Return an error by its name, code and place, which is how ``BadData`` says its cause."""
    try:
        name = psycopg.errors.lookup(sqlstate).__name__
    except KeyError:  # of an extension, or of the site's own
        name = "Error"
    return f"{name} {sqlstate}" + "".join(f" {fact}" for fact in (table, constraint or column) if fact)
