"""The Postgres sink's writing: rows per second, against a raw binary COPY of the same rows into the same table.

The COPY is the limit of what Postgres can take: it has its rows in the table's types before its clock starts,
recognises no repeat and appends no goal. Batches of the same conversions, each under ids of its own, take turns.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from runtime import logs
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.events import Conversion
from schemas.records import Incoming
from schemas.topics import CONVERSIONS
from sinks.contract import Item
from sinks.postgres.connection import Connection, connect
from sinks.postgres.rows import STAGED, PlacedConversion, staged_row
from sinks.postgres.sink import Content, PostgresSink
from tests.bench import material, tables
from tests.bench.results import Result, Target, median_ratio, require
from tests.stack import running_stack

_BATCH_ROWS: Final = 2000
_TARGETS: Final = (Target(figure="ratio_to_copy", at_least=0.6),)

# The table's types where they are not those that the sink sends. A timestamp in COPY's binary format is eight bytes
# that count microseconds, which is what an int8 looks like.
_TABLE_TYPES: Final = {"id": "uuid", "webhook_id": "uuid", "counter_id": "uuid", "payload": "jsonb", "price": "numeric"}
_COPY: Final = sql.SQL("COPY webhook_conversions ({}, stage) FROM STDIN (FORMAT BINARY)").format(
    sql.SQL(", ").join(sql.Identifier(name) for name, _ in STAGED)
)
# What distinguishes two writings of one conversion; every other column has to be the same.
_OWN_COLUMNS: Final = frozenset({"id", "analytics_row_id", "goal_appended", "external_source"})
_DIFFERENCES: Final = sql.SQL(
    """
SELECT (SELECT count(*) FROM webhook_conversions WHERE external_source = %(contender)s),
       (SELECT count(*) FROM webhook_conversions WHERE external_source = %(contender)s AND goal_appended),
       (SELECT count(*) FROM webhook_conversions AS ours JOIN webhook_conversions AS theirs USING (order_id)
        WHERE ours.external_source = %(contender)s AND theirs.external_source = 'copy'
          AND ({ours}) IS NOT DISTINCT FROM ({theirs}))
"""
).format(
    ours=sql.SQL(", ").join(sql.Identifier("ours", name) for name, _ in STAGED if name not in _OWN_COLUMNS),
    theirs=sql.SQL(", ").join(sql.Identifier("theirs", name) for name, _ in STAGED if name not in _OWN_COLUMNS),
)

Batch = Sequence[PlacedConversion]


@dataclass(slots=True, kw_only=True)
class _Writing:
    """One way to write batches. ``prepare`` is not measured, what it returns is."""

    name: str
    prepare: Callable[[Batch], Callable[[], object]]
    rows_per_s: list[float] = field(default_factory=list)

    def take(self, batch: Batch, *, measured: bool) -> None:
        """Write ``batch`` under ids of this way's own."""
        own = [replace(placed, conversion=self._own(placed.conversion)) for placed in batch]
        write = self.prepare(own)
        began = time.perf_counter()
        write()
        seconds = time.perf_counter() - began
        if measured:
            self.rows_per_s.append(len(batch) / seconds)

    def _own(self, conversion: Conversion) -> Conversion:
        event_id = str(uuid.uuid5(uuid.UUID(conversion.event_id), self.name))
        row_id = conversion.row_id if self.name == "sink_with_goals" else str(uuid.uuid5(uuid.UUID(event_id), "row"))
        return replace(conversion, event_id=event_id, row_id=row_id, source=self.name)


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Measure batches of 2 000 conversions, with and without goals to append."""
    batches, warm_up = (10, 2) if quick else (45, 5)
    with running_stack(home / "stack") as stack:
        return [_measured(stack, batches=batches, warm_up=warm_up)]


def _measured(stack: Addresses, *, batches: int, warm_up: int) -> Result:
    logs.configure("bench", level="WARNING")
    tables.fill(stack.database_url)
    tables.enrol(stack.database_url)
    goals_before = tables.goals(stack.database_url).ours
    with connect(stack.database_url, application_name="bench-copy") as copying:
        copy = _Writing(name="copy", prepare=partial(_copying, copying))
        plain = _Writing(name="sink", prepare=_sinking(stack))
        with_goals = _Writing(name="sink_with_goals", prepare=_sinking(stack))
        for number in range(warm_up + batches):
            batch = _batch(number)
            for writing in (copy, plain, with_goals):
                writing.take(batch, measured=number >= warm_up)
    rows = (warm_up + batches) * _BATCH_ROWS
    _verify(stack.database_url, rows, goals=tables.goals(stack.database_url).ours - goals_before)
    return _result(copy, plain, with_goals)


def _result(copy: _Writing, plain: _Writing, with_goals: _Writing) -> Result:
    return Result(
        bench="sink",
        value=statistics.median(plain.rows_per_s),
        unit="rows/s",
        figures={
            "ratio_to_copy": median_ratio(plain.rows_per_s, copy.rows_per_s),
            "ratio_to_copy_with_goals": median_ratio(with_goals.rows_per_s, copy.rows_per_s),
            "copy_rows_per_s": statistics.median(copy.rows_per_s),
            "rows_per_s_with_goals": statistics.median(with_goals.rows_per_s),
            "batch_rows": _BATCH_ROWS,
        },
        targets=_TARGETS,
    )


def _copying(connection: Connection, batch: Batch) -> Callable[[], object]:
    """COPY into the table itself, in one transaction as the sink does."""
    types = [_TABLE_TYPES.get(name, kind) for name, kind in STAGED]
    rows = [_typed_row(placed) for placed in batch]

    def write() -> None:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types([*types, "text"])
            for row in rows:
                copy.write_row(row)

    return write


def _typed_row(placed: PlacedConversion) -> tuple[object, ...]:
    converted: dict[str, Callable[[Any], object]] = {
        "id": uuid.UUID,
        "webhook_id": uuid.UUID,
        "counter_id": uuid.UUID,
        "payload": lambda text: Jsonb(text, dumps=str),
        "price": Decimal,
    }
    staged = staged_row(placed, goal_appended=False)
    typed = (converted.get(name, _same)(value) for (name, _), value in zip(STAGED, staged, strict=True))
    return (*typed, "stored")


def _same(value: object) -> object:
    return value


def _sinking(stack: Addresses) -> Callable[[Batch], Callable[[], object]]:
    """Write through the sink itself, as its loop does once the records are decoded."""
    sink = PostgresSink(
        lambda: connect(stack.database_url, application_name="bench-sink"), Registry(stack.schema_registry_url)
    )
    sink.open()

    def prepare(batch: Batch) -> Callable[[], object]:
        items: list[Item[Content]] = [Item(record=_place(placed), content=placed.conversion) for placed in batch]
        return partial(_written, sink, items)

    return prepare


def _written(sink: PostgresSink, items: Sequence[Item[Content]]) -> None:
    require(sink.write(items) == [], "the sink has refused conversions")


def _place(placed: PlacedConversion) -> Incoming:
    return Incoming(
        topic=CONVERSIONS.name,
        partition=placed.partition,
        offset=placed.offset,
        timestamp=placed.conversion.resolved_at,
        key=None,
        value=None,
    )


def _batch(number: int) -> list[PlacedConversion]:
    """Return conversions of as many different sessions."""
    now = material.now_ms()
    first = number * _BATCH_ROWS
    return [
        PlacedConversion(
            conversion=material.conversion(place, sessions=material.SESSION_COUNT, now_ms=now),
            partition=0,
            offset=place,
        )
        for place in range(first, first + _BATCH_ROWS)
    ]


def _verify(database_url: str, rows: int, *, goals: int) -> None:
    """See that the sink has stored each row as the COPY has, and exactly one goal for each that has a session row."""
    with psycopg.connect(database_url) as database:
        for name, expected_goals in (("copy", 0), ("sink", 0), ("sink_with_goals", rows)):
            found = database.execute(_DIFFERENCES, {"contender": name}).fetchone()
            require(
                found == (rows, expected_goals, rows), f"{name}: rows, goals and equal rows are {found}, not {rows}"
            )
    require(goals == rows, f"{rows} goals were to be appended, user_analytics has {goals} more")
