"""What retention does to Postgres: small transactions, each of which leaves everything consistent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import sql

from goalpost.retention.policy import Cutoffs
from sinks.postgres.connection import Connection
from sinks.postgres.statements import COLUMN_TYPES

# Nothing will happen to these any more: Metrika has them, or they are given up. Rows without a stage are another's.
_FINISHED: Final[LiteralString] = "stage IN ('uploaded', 'processed', 'not_linked', 'failed')"

# What is left of a conversion without personal data: what it was worth, which goal, when, and what became of it.
ANONYMOUS: Final[LiteralString] = """
payload = '{}', session_id = NULL, analytics_row_id = NULL, client_id = NULL, yclid = NULL, user_id = NULL,
purchase_id = NULL, order_id = NULL, email_md5 = NULL, phone_md5 = NULL, anonymised_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One kind of work: ``count`` says how much there is, ``act`` does at most ``limit`` of it and says how much."""

    name: str
    count: sql.Composed
    act: sql.Composed
    before: Callable[[Cutoffs], datetime]


def steps(connection: Connection) -> tuple[Step, ...]:
    """Return the steps in the order in which they have to be done."""
    return (
        _anonymise(),
        _delete_conversions(),
        _delete_uploads(),
        _delete_request_days(),
        _delete_versions(_id_type(connection)),
    )


def count(connection: Connection, step: Step, cutoffs: Cutoffs) -> int:
    """Return how many rows ``step`` would touch now."""
    row = connection.execute(step.count, {"before": step.before(cutoffs)}).fetchone()
    return int(str(row[0])) if row else 0


def carry_out(connection: Connection, step: Step, cutoffs: Cutoffs, *, batch: int) -> Iterator[int]:
    """Do ``step`` in transactions of ``batch`` rows; yield how many rows each has touched."""
    while True:
        with connection.transaction():
            connection.execute("SET LOCAL goalpost.retention = 'on'")
            connection.execute("SET LOCAL goalpost.reason = 'retention'")
            touched = connection.execute(step.act, {"before": step.before(cutoffs), "limit": batch}).rowcount
        if touched == 0:
            return
        yield touched


def _id_type(connection: Connection) -> sql.SQL:
    types = {str(name): str(kind) for name, kind in connection.execute(COLUMN_TYPES).fetchall()}
    return sql.SQL(types["id"])


def _anonymise() -> Step:
    which = sql.SQL("received_at < %(before)s AND anonymised_at IS NULL AND " + _FINISHED)
    return Step(
        name="webhook_conversions: personal data removed",
        count=sql.SQL("SELECT count(*) FROM webhook_conversions WHERE {which}").format(which=which),
        act=sql.SQL(
            """
            UPDATE webhook_conversions SET {anonymous} WHERE id IN (
                SELECT id FROM webhook_conversions WHERE {which} ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
            """
        ).format(anonymous=sql.SQL(ANONYMOUS), which=which),
        before=lambda cutoffs: cutoffs.anonymise,
    )


def _delete_conversions() -> Step:
    """A conversion goes with its audit trail and the other amounts that it came with."""
    which = sql.SQL("received_at < %(before)s AND " + _FINISHED)
    return Step(
        name="webhook_conversions: rows deleted, with their audit trail",
        count=sql.SQL("SELECT count(*) FROM webhook_conversions WHERE {which}").format(which=which),
        act=sql.SQL(
            """
            WITH gone AS (
                DELETE FROM webhook_conversions WHERE id IN (
                    SELECT id FROM webhook_conversions WHERE {which} ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
                RETURNING id
            ), trail AS (
                DELETE FROM conversion_events WHERE conversion_id IN (SELECT id FROM gone)
            ), amounts AS (
                DELETE FROM conversion_amounts WHERE conversion_id IN (SELECT id FROM gone)
            )
            SELECT id FROM gone
            """
        ).format(which=which),
        before=lambda cutoffs: cutoffs.delete,
    )


def _delete_uploads() -> Step:
    """Uploads that no conversion refers to any more; a split one only after its halves."""
    which = sql.SQL(
        """
        prepared_at < %(before)s AND state IN ('processed', 'linkage_failure', 'rejected', 'accepted')
        AND NOT EXISTS (SELECT FROM webhook_conversions WHERE upload = metrika_uploads.id)
        AND NOT EXISTS (SELECT FROM metrika_uploads AS half WHERE half.parent = metrika_uploads.id)
        """
    )
    return Step(
        name="metrika_uploads: rows deleted",
        count=sql.SQL("SELECT count(*) FROM metrika_uploads WHERE {which}").format(which=which),
        act=sql.SQL(
            "DELETE FROM metrika_uploads WHERE id IN (SELECT id FROM metrika_uploads WHERE {which} LIMIT %(limit)s)"
        ).format(which=which),
        before=lambda cutoffs: cutoffs.delete,
    )


def _delete_request_days() -> Step:
    """How many requests of Metrika's quota an account has used on days that are long over."""
    which = sql.SQL("day < (%(before)s::timestamptz AT TIME ZONE 'UTC')::date")
    return Step(
        name="metrika_request_days: rows deleted",
        count=sql.SQL("SELECT count(*) FROM metrika_request_days WHERE {which}").format(which=which),
        act=sql.SQL(
            """
            DELETE FROM metrika_request_days WHERE (yandex_uid, day) IN (
                SELECT yandex_uid, day FROM metrika_request_days WHERE {which} LIMIT %(limit)s)
            """
        ).format(which=which),
        before=lambda cutoffs: cutoffs.delete,
    )


def _delete_versions(id_type: sql.SQL) -> Step:
    """Versions of rows of user_analytics that are gone."""
    which = sql.SQL(
        """
        last_visit_at BETWEEN 0 AND extract(epoch FROM %(before)s::timestamptz) * 1000
        AND NOT EXISTS (SELECT FROM user_analytics WHERE id = row_id::{id_type})
        """
    ).format(id_type=id_type)
    return Step(
        name="analytics_row_versions: rows deleted",
        count=sql.SQL("SELECT count(*) FROM analytics_row_versions WHERE {which}").format(which=which),
        act=sql.SQL(
            """
            DELETE FROM analytics_row_versions WHERE row_id IN (
                SELECT row_id FROM analytics_row_versions WHERE {which} LIMIT %(limit)s)
            """
        ).format(which=which),
        before=lambda cutoffs: cutoffs.delete,
    )
