"""Which records of a batch Postgres refuses, asked in few goes: each is tried in a subtransaction of its own.

To halve a batch until each bad record stands alone takes two transactions a bad record, and seven hundred of one sender
would hold up all others for seconds. Here a record costs a subtransaction, good or bad. Nothing stays: what is found is
left out, and the rest is written as always.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import orjson
from psycopg import sql

from schemas.events import Session
from sinks.postgres.connection import BadData, Connection, described, translated_errors
from sinks.postgres.goals import goals_by_row
from sinks.postgres.rows import STAGED, PlacedConversion, row_key, session_row, staged_row
from sinks.postgres.statements import CASTS, COPY_CONVERSIONS, AnalyticsStatements

# Few enough that one question ends long before the server's limit on statements, whatever triggers a site has.
ROWS_AT_ONCE: Final = 200

# The classes that ``trouble`` calls bad data; with any other error the whole question fails.
CONDITIONS: Final[tuple[LiteralString, ...]] = (
    "cardinality_violation",
    "data_exception",
    "integrity_constraint_violation",
    "with_check_option_violation",
    "program_limit_exceeded",
    "plpgsql_error",
    "raise_exception",
    "generated_always",
)

# Of a session only what is written into its row is tried: that is the site's, with the site's own rules.
_PREPARE: Final[LiteralString] = """
CREATE OR REPLACE FUNCTION pg_temp.refused_records(tried JSONB)
RETURNS TABLE (place INT, code TEXT, table_name TEXT, rule TEXT, column_name TEXT) LANGUAGE plpgsql AS $$
DECLARE
    staged incoming_conversions;
    one JSONB;
BEGIN
    FOR place, one IN SELECT (position - 1)::int, value FROM jsonb_array_elements(tried) WITH ORDINALITY
        AS given (value, position)
    LOOP
        BEGIN
            IF one ? 'offset' THEN
                SELECT * INTO STRICT staged FROM incoming_conversions AS it
                WHERE it.conversion_partition = (one ->> 'partition')::int
                  AND it.conversion_offset = (one ->> 'offset')::bigint;
                INSERT INTO webhook_conversions ({columns}, stage) VALUES ({values}, 'stored')
                ON CONFLICT (id) DO NOTHING;
            END IF;
            IF one ? 'goals' THEN
                EXECUTE {append_goals} USING one -> 'goals';
            END IF;
            IF one ? 'sessions' THEN
                EXECUTE {insert_rows} USING one -> 'sessions';
                EXECUTE {write_sessions} USING one -> 'sessions';
            END IF;
        EXCEPTION WHEN {conditions} THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, table_name = TABLE_NAME, rule = CONSTRAINT_NAME,
                                    column_name = COLUMN_NAME;
            RETURN NEXT;
        END;
    END LOOP;
END
$$
"""
_ASK: Final[LiteralString] = "SELECT * FROM pg_temp.refused_records(%s::jsonb)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a record is refused: ``text`` quotes no content, ``exception`` is the error's name."""

    text: str
    exception: str


Tried = PlacedConversion | Session


def refusals(connection: Connection, fitted: AnalyticsStatements, records: Sequence[Tried]) -> dict[int, Cause]:
    """Return why Postgres refuses which of ``records`` (at most :data:`ROWS_AT_ONCE`), by their index.

    Needs the tables of ``session.sql``. Empty where the cause is not in a single record.

    Raises:
        BadData: the rows do not even reach the server.
        PostgresUnavailable, Contention: nothing is known; try again.
    """
    found: dict[int, Cause] = {}
    trials: list[dict[str, Any]] = []
    for index, record in enumerate(records):
        try:
            trials.append(_trial(record, fitted.id_type))
        except (BadData, OverflowError) as exc:
            found[index] = Cause(text=str(exc) or type(exc).__name__, exception=type(exc).__name__)
            trials.append({})
    staged = [one for one, trial in zip(records, trials, strict=True) if trial and isinstance(one, PlacedConversion)]
    with translated_errors(), connection.transaction(force_rollback=True):
        connection.execute(_prepared(fitted, connection))
        with connection.cursor() as cursor:
            with cursor.copy(COPY_CONVERSIONS) as copy:
                copy.set_types([kind for _, kind in STAGED])
                for placed in staged:
                    copy.write_row(staged_row(placed, goal_appended=False))
            for place, *facts in cursor.execute(_ASK, (orjson.dumps(trials).decode(),)):
                code, table, constraint, column = (str(fact or "") for fact in facts)
                text = described(code, table, constraint, column)
                found[int(str(place))] = Cause(text=text, exception=text.partition(" ")[0])
    return found


def _trial(record: Tried, id_type: str) -> dict[str, Any]:
    if isinstance(record, PlacedConversion):
        place = {"partition": record.partition, "offset": record.offset}
        key = row_key(id_type, record.conversion.row_id)
        return place if key is None else place | {"goals": orjson.Fragment(goals_by_row([(key, record.conversion)]))}
    key = row_key(id_type, record.row_id)
    if key is None:
        raise BadData(f"the session's row id is no {id_type}, which user_analytics.id is")
    return {"sessions": [session_row(record, key)]}


def _prepared(fitted: AnalyticsStatements, connection: Connection) -> sql.Composed:
    def quoted(statement: sql.Composed) -> sql.Literal:
        return sql.Literal(statement.as_string(connection).replace("%s::jsonb", "$1"))

    return sql.SQL(_PREPARE).format(
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in STAGED),
        values=sql.SQL(", ").join(_cast(name) for name, _ in STAGED),
        append_goals=quoted(fitted.append_goals),
        insert_rows=quoted(fitted.insert_rows),
        write_sessions=quoted(fitted.write_sessions),
        conditions=sql.SQL(" OR ").join(map(sql.SQL, CONDITIONS)),
    )


def _cast(name: str) -> sql.Composable:
    column = sql.Identifier("staged", name)
    return sql.SQL("{}::{}").format(column, sql.SQL(CASTS[name])) if name in CASTS else column


def in_questions(count: int) -> Iterator[slice]:
    """Yield the parts of ``count`` records that one question each may be about."""
    return (slice(first, first + ROWS_AT_ONCE) for first in range(0, count, ROWS_AT_ONCE))
