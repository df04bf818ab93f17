"""Indexes on tables that may be large when they come: built while the site and the sink go on writing.

``user_analytics`` belongs to the site; ``webhook_conversions`` may hold years of conversions, and migration 0016 gives
its new indexes only to a small one.

``CREATE INDEX CONCURRENTLY`` cannot be part of a migration file: it runs outside of transactions, and the Supabase CLI
puts files into one. So nothing is noted down; what is there is asked of Postgres itself. goalpost works without these
indexes, only more slowly, so a failure is said, with the statement for a person to run, and stops nothing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from sinks.postgres.connection import BadData, Connection, Contention, Misconfigured, connect, translated_errors

# Any number, as long as no other program locks it. Not the migrations' own: whoever waits for that one does so inside
# a transaction, which the building of an index in turn waits for.
_LOCK: Final = int.from_bytes(hashlib.sha256(b"goalpost indexes").digest()[:8], "big", signed=True)

_POLL_SECONDS: Final = 0.5
_REPORT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """``key`` is its first column or expression as Postgres writes it: any index that begins with it serves as well.

    Without a key only the index of that name serves. What the site writes freely is hashed: a btree would refuse the
    site a row with a value of more than 2.7 kB.
    """

    name: LiteralString
    key: LiteralString | None
    columns: LiteralString
    purpose: str
    method: LiteralString = "hash"
    table: LiteralString = "user_analytics"
    options: LiteralString = ""

    @property
    def statement(self) -> sql.SQL:
        """What builds it."""
        return sql.SQL(
            f"CREATE INDEX CONCURRENTLY {self.name} ON {self.table} USING {self.method} ({self.columns}){self.options}"
        )


INDEXES: Final = (
    Index(
        name="idx_user_analytics_ym_uid",
        key="((analytics_data -> 'ids'::text) ->> 'ym_uid'::text)",
        columns="(analytics_data -> 'ids' ->> 'ym_uid')",
        purpose="finds a visitor's sessions",
    ),
    Index(
        name="idx_user_analytics_session_id",
        key="session_id",
        columns="session_id",
        purpose="finds a session",
    ),
    Index(
        name="idx_user_analytics_timestamp",
        key='"timestamp"',
        columns='"timestamp", id',
        purpose="lets `goalpost sessions` read a large table page by page",
        method="btree",  # pages need an order
    ),
    # By what a trace may begin with. Bloom filters over stretches of the table cost the sink next to nothing, where a
    # hash index for each column cost a sixth; a look-up reads them all (6 MB for a million rows) and some stretches.
    Index(
        name="idx_webhook_conversions_trace",
        key=None,
        columns=(
            "session_id text_bloom_ops(n_distinct_per_range = 500, false_positive_rate = 0.001), "
            "client_id text_bloom_ops(n_distinct_per_range = 500, false_positive_rate = 0.001), "
            "yclid text_bloom_ops(n_distinct_per_range = 100, false_positive_rate = 0.001), "
            "raw_offset, conversion_offset"
        ),
        purpose="lets `goalpost trace` find conversions by session, visitor, click and place in a topic",
        method="brin",
        table="webhook_conversions",
        options=" WITH (pages_per_range = 64, autosummarize = on)",
    ),
)

_SERVED: Final[LiteralString] = """
SELECT to_regclass(%(table)s) IS NULL OR EXISTS (
    SELECT FROM pg_index AS known
    JOIN pg_class AS named ON named.oid = known.indexrelid
    JOIN pg_am AS method ON method.oid = named.relam
    WHERE known.indrelid = to_regclass(%(table)s) AND known.indisvalid AND known.indpred IS NULL
      AND CASE WHEN %(key)s::text IS NULL THEN named.relname = %(name)s
               ELSE method.amname IN ('btree', 'hash') AND pg_get_indexdef(known.indexrelid, 1, true) = %(key)s END
)
"""
_HALF_BUILT: Final[LiteralString] = """
SELECT named.oid::regclass::text FROM pg_index AS known JOIN pg_class AS named ON named.oid = known.indexrelid
WHERE known.indrelid = to_regclass(%s) AND NOT known.indisvalid AND named.relname = %s
"""
_PROGRESS: Final[LiteralString] = """
SELECT phase, blocks_done, blocks_total, lockers_total - lockers_done
FROM pg_stat_progress_create_index WHERE pid = %s
"""


def missing(connection: Connection) -> tuple[Index, ...]:
    """Return the indexes for which their tables, where these are there, have nothing that serves as well."""
    with translated_errors():
        return tuple(one for one in INDEXES if not _is_served(connection, one))


def _is_served(connection: Connection, index: Index) -> bool:
    asked = {"table": index.table, "name": index.name, "key": index.key}
    return bool(connection.execute(_SERVED, asked).fetchall()[0][0])


def build_missing(database_url: str, report: Callable[[str], None]) -> None:
    """Build what is :func:`missing`, one after the other, and say in words how it goes. Two at once wait in turn.

    Raises:
        PostgresUnavailable: the server does not answer; what was half-built is built anew the next time.
    """
    with (
        connect(database_url, application_name="goalpost-indexes") as connection,
        connect(database_url, application_name="goalpost-indexes") as observer,
        translated_errors(),
    ):
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        if not missing(connection):
            return
        _take_turn(connection, report)
        for index in missing(connection):
            _built(connection, observer, index, report)


def _take_turn(connection: Connection, report: Callable[[str], None]) -> None:
    """Wait for another builder, but not inside a statement: it would wait for that. Held until the connection ends."""
    told = False
    while not connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchall()[0][0]:
        if not told:
            report("another `goalpost migrate` is building indexes; waiting for it")
            told = True
        time.sleep(_POLL_SECONDS)


def _built(connection: Connection, observer: Connection, index: Index, report: Callable[[str], None]) -> None:
    try:
        with translated_errors():
            if _drop_half_built(connection, index):
                report(f"{index.name} was left half-built; it is built again")
            _build(connection, observer, index, report)
    except (BadData, Misconfigured, Contention) as exc:
        # An index that is not valid costs every write and serves nobody.
        with suppress(psycopg.Error):
            _drop_half_built(connection, index)
        report(
            f"{index.name} was not built ({_cause(exc)}). goalpost works without it, more slowly: it "
            f"{index.purpose}. Have the owner of {index.table} run: {index.statement.as_string(None)}"
        )
    else:
        report(f"built {index.name} on {index.table}: it {index.purpose}")


def _drop_half_built(connection: Connection, index: Index) -> bool:
    found = connection.execute(_HALF_BUILT, (index.table, index.name)).fetchall()
    for (name,) in found:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.SQL(str(name))))  # quoted by regclass
    return bool(found)


def _build(connection: Connection, observer: Connection, index: Index, report: Callable[[str], None]) -> None:
    """Build on a thread, and meanwhile say how far it is. An interrupt ends the building, too."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            connection.execute(index.statement)
        except BaseException as exc:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(exc)

    worker = threading.Thread(target=run, name=index.name)
    worker.start()
    try:
        _watch(worker, observer, connection.info.backend_pid, index, report)
    finally:
        if worker.is_alive():
            connection.cancel_safe()
            worker.join()
    if failures:
        raise failures[0]


def _watch(
    worker: threading.Thread, observer: Connection, backend_pid: int, index: Index, report: Callable[[str], None]
) -> None:
    told_at = time.monotonic()
    while worker.is_alive():
        worker.join(_POLL_SECONDS)
        if worker.is_alive() and time.monotonic() - told_at >= _REPORT_SECONDS:
            told_at = time.monotonic()
            for row in observer.execute(_PROGRESS, (backend_pid,)).fetchall():
                report(f"{index.name}: {_in_words(*row)}")


def _in_words(phase: object, blocks_done: object, blocks_total: object, others: object) -> str:
    """Return Postgres' own word for the phase with what it counts there. The site's writes go on in every phase."""
    if str(phase).startswith("waiting"):
        return f"{phase}, {others} left"
    if isinstance(blocks_done, int) and isinstance(blocks_total, int) and blocks_total > 0:
        return f"{phase}, {100 * blocks_done // blocks_total} %"
    return str(phase)


def _cause(error: Exception) -> str:
    cause = error.__cause__
    return (cause.diag.message_primary if isinstance(cause, psycopg.Error) else None) or str(error)
