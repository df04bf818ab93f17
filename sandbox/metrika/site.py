"""What Metrika knows of a counter's site: its goals, and when its visitors came. Scripted, and kept on disk."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from threading import Lock
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.metrika.configuration import Configuration, problems
from sandbox.metrika.csv_file import Row
from sandbox.metrika.database import connect

_SECONDS_PER_DAY = 86_400
_TABLES = """
CREATE TABLE IF NOT EXISTS goal (counter INTEGER, position INTEGER, name TEXT, PRIMARY KEY (counter, position));
CREATE TABLE IF NOT EXISTS visit (
    counter INTEGER, column TEXT, identifier TEXT, at INTEGER, PRIMARY KEY (counter, column, identifier, at)
) WITHOUT ROWID;
"""
_FIRST_AND_LAST = "SELECT min(at), max(at) FROM visit WHERE counter = ? AND column = ? AND identifier = ?"


class Linking(Enum):
    """What becomes of a row whose goal is known."""

    LINKED = auto()
    USER_NOT_FOUND = auto()
    NO_VISIT_IN_TIME = auto()
    """The last visit is too long ago, or the visitor had not come yet when the conversion happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A visitor came at `at` (epoch seconds)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    counter: int
    column: Literal["ClientId", "UserId", "Yclid", "PurchaseId"]
    identifier: Annotated[str, Field(min_length=1)]
    at: int


class InvalidVisits(ValueError):
    """The list of visits can't be understood; the text names the field."""


_VISITS = TypeAdapter(list[Visit])


def parse_visits(body: bytes) -> list[Visit]:
    """Visits from a JSON list; raises `InvalidVisits`."""
    try:
        return _VISITS.validate_json(body)
    except ValidationError as error:
        raise InvalidVisits(problems(error)) from error


class Site:
    """Goals and visits. Any thread may call."""

    def __init__(self, database: Path) -> None:
        self._connection = connect(database, _TABLES)
        self._lock = Lock()

    def goals(self, counter: int, configuration: Configuration) -> tuple[str, ...]:
        """The goals of a counter; those of the setting where it has none of its own."""
        own = tuple(
            row["name"] for row in self._read("SELECT name FROM goal WHERE counter = ? ORDER BY position", counter)
        )
        return own or configuration.goals

    def set_goals(self, counter: int, names: Iterable[str]) -> None:
        """Replace the goals of a counter; none means those of the setting."""
        rows = [(counter, position, name) for position, name in enumerate(names)]
        with self._lock:
            self._connection.execute("DELETE FROM goal WHERE counter = ?", [counter])
            self._connection.executemany("INSERT INTO goal VALUES (?, ?, ?)", rows)

    def add_visits(self, visits: Iterable[Visit]) -> None:
        """Remember visits."""
        rows = [(visit.counter, visit.column, visit.identifier, visit.at) for visit in visits]
        with self._lock:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO visit VALUES (?, ?, ?, ?)", rows)
            self._connection.execute("COMMIT")

    def forget_visits(self) -> None:
        """Forget every visit."""
        with self._lock:
            self._connection.execute("DELETE FROM visit")

    def visits(self) -> int:
        """How many are known."""
        return int(self._read("SELECT count(*) FROM visit")[0][0])

    def seen(self, counter: int, column: str, identifier: str) -> tuple[int, int] | None:
        """The first and the last visit, `None` where there was none."""
        first, last = self._read(_FIRST_AND_LAST, counter, column, identifier)[0]
        return None if first is None else (first, last)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """One counter's goals and visitors, as they are when a file of it comes in; `processed_at` in epoch seconds."""

    counter: int
    site: Site
    configuration: Configuration
    goals: frozenset[str]
    processed_at: float

    def has_goal(self, target: str) -> bool:
        """Whether Metrika finds the goal."""
        return self.configuration.every_goal_known or target in self.goals

    def link(self, row: Row) -> Linking:
        """Whether Metrika finds a visit for the row.

        The window runs from the visitor's last visit to the processing of the file, not to the conversion; a
        conversion by ClientId or UserId goes to the visit before it (management/conversion.md).
        """
        column, identifier = row.identifier
        if identifier in self.configuration.unknown_identifiers:
            return Linking.USER_NOT_FOUND
        if self.configuration.every_visitor_known:
            return Linking.LINKED
        seen = self.site.seen(self.counter, column, identifier)
        if seen is None:
            return Linking.USER_NOT_FOUND
        first, last = seen
        too_old = self.processed_at > last + self.configuration.window_days * _SECONDS_PER_DAY
        too_early = column in ("ClientId", "UserId") and row.moment < first
        return Linking.NO_VISIT_IN_TIME if too_old or too_early else Linking.LINKED


def audience(site: Site, counter: int, configuration: Configuration, *, now: float) -> Audience:
    """The audience that a file uploaded now will meet."""
    return Audience(
        counter=counter,
        site=site,
        configuration=configuration,
        goals=frozenset(site.goals(counter, configuration)),
        processed_at=now + configuration.processed_after_seconds,
    )
