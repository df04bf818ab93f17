"""Brings the tables up to date: the SQL files of ``migrations`` in the order of their names, each once.

The files are plain SQL that ``supabase db push`` runs as well, and each can be run again without harm, so it does not
matter who ran one first.
"""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Final, LiteralString

import psycopg
from psycopg.rows import tuple_row

from runtime.failures import Fatal
from runtime.sections import DatabaseSettings
from runtime.settings import load
from sinks.postgres import access
from sinks.postgres.connection import BadData, Connection, Misconfigured, connect, translated_errors
from sinks.postgres.indexes import build_missing

# Any number, as long as no other program locks it: the first eight bytes of sha256("goalpost migrations").
_LOCK: Final = int.from_bytes(hashlib.sha256(b"goalpost migrations").digest()[:8], "big", signed=True)

_LEDGER: Final[LiteralString] = """
DO $$
BEGIN
    IF to_regclass('goalpost_migrations') IS NULL THEN
        CREATE TABLE goalpost_migrations (
            version TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW()
        );
        ALTER TABLE goalpost_migrations ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One SQL file: ``0001_seed_tables.sql`` is version ``0001``, name ``seed_tables``."""

    version: str
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the file's text, by which a change is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What the database says about one migration."""

    sha256: str
    applied_at: datetime


class ChangedMigration(Fatal):
    """A file was changed after it was applied, so nobody could say any more what the tables look like."""

    def __init__(self, migration: Migration, applied_at: datetime) -> None:
        super().__init__(
            f"Migration {migration.version}_{migration.name}.sql was changed after it was applied on "
            f"{applied_at:%Y-%m-%d %H:%M} UTC. Put the file back as it was, and make the change in a new file."
        )


class UnknownMigration(Fatal):
    """The database is ahead of this version of goalpost."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"The database has migration {version}, which this version of goalpost does not know. "
            "Install the version that wrote it, or a newer one."
        )


class MigrationFailed(Fatal):
    """A migration does not fit what is in the database. It was undone as a whole; those before it stay."""

    def __init__(self, migration: Migration, cause: str) -> None:
        super().__init__(
            f"Migration {migration.version}_{migration.name}.sql cannot be applied ({cause}) and was undone. "
            "Check that the role in DATABASE_URL owns the tables that exist already, then run `goalpost migrate` again."
        )


class AccessOpen(Fatal):
    """Roles that have no business with goalpost's tables or functions have rights on them, and these stay."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"Rights of anon, authenticated or PUBLIC on goalpost's tables cannot be taken back ({cause}). "
            "Run `goalpost migrate` with the role that owns the tables."
        )


def migrations() -> tuple[Migration, ...]:
    """Return the migrations in the order in which they are applied."""
    folder = resources.files("sinks.postgres").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(_migration(file.name, file.read_text(encoding="utf-8")) for file in files)


def _migration(file_name: str, sql: str) -> Migration:
    version, _, name = file_name.removesuffix(".sql").partition("_")
    return Migration(version=version, name=name, sql=sql)


def migrate(
    database_url: str, report: Callable[[str], None], files: tuple[Migration, ...] | None = None
) -> tuple[Migration, ...]:
    """Apply what is missing, tell ``report`` a line for each, and return it. Two at once wait for each other.

    At the end strangers lose every right on what is goalpost's, and indexes on tables that may be large are built,
    without keeping the site or the sink from writing.

    Raises:
        AccessOpen: rights could not be taken back.
        ChangedMigration: an applied file is not what it was.
        UnknownMigration: the database is ahead of the files.
        MigrationFailed: a file does not fit what is in the database.
        PostgresUnavailable: the server does not answer.
    """
    wanted = migrations() if files is None else files
    with connect(database_url, application_name="goalpost-migrate") as connection:
        # An index on a table that holds years of conversions takes as long as it takes.
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        done = tuple(migration for migration in wanted if _applied_now(connection, migration, wanted, report))
        _close_access(connection, wanted)
    build_missing(database_url, report)
    return done


def _applied_now(
    connection: Connection, migration: Migration, wanted: tuple[Migration, ...], report: Callable[[str], None]
) -> bool:
    """Apply one file in one transaction, unless that has been done. Returns whether it was done now."""
    try:
        with translated_errors(), connection.transaction():
            # Until the end of the transaction, so that it also holds behind a pooler that shares sessions.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            if _is_applied(connection, migration, wanted):
                return False
            # Without parameters psycopg sends a file of many statements as it is.
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO goalpost_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.sha256),
            )
    except (BadData, Misconfigured) as exc:
        raise MigrationFailed(migration, _cause(exc)) from exc
    report(f"applied {migration.version}_{migration.name}")
    return True


def _close_access(connection: Connection, wanted: tuple[Migration, ...]) -> None:
    try:
        with translated_errors(), connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            access.close(connection, [migration.sql for migration in wanted])
    except (BadData, Misconfigured) as exc:
        raise AccessOpen(_cause(exc)) from exc


def _is_applied(connection: Connection, migration: Migration, wanted: tuple[Migration, ...]) -> bool:
    connection.execute(_LEDGER)
    applied = _ledger(connection)
    unknown = sorted(applied.keys() - {known.version for known in wanted})
    if unknown:
        raise UnknownMigration(unknown[-1])
    before = applied.get(migration.version)
    if before is not None and before.sha256 != migration.sha256:
        raise ChangedMigration(migration, before.applied_at)
    return before is not None


def _cause(error: Exception) -> str:
    """Return Postgres' own sentence: it speaks of tables and columns here; values would stand in its detail."""
    cause = error.__cause__
    return (cause.diag.message_primary if isinstance(cause, psycopg.Error) else None) or str(error)


def _ledger(connection: Connection) -> Mapping[str, Applied]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT version, sha256, applied_at AT TIME ZONE 'UTC' FROM goalpost_migrations")
        return {version: Applied(sha256=sha256, applied_at=at) for version, sha256, at in cursor.fetchall()}


def main() -> int:
    """Bring the tables of the database in DATABASE_URL up to date; the command says why if it cannot."""
    (database,) = load(DatabaseSettings)
    # As Ctrl-C, so that psycopg cancels what is under way: a statement that waits for a lock would go on waiting in the
    # server, with the site's own statements behind it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = migrate(database.database_url.get_secret_value(), _say)
    _say(f"{len(done)} migrations applied" if done else "the tables are up to date")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
