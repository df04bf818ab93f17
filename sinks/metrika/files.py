"""Which conversions share a file. Pure.

Metrika counts per file what it linked and what it did not find, so a file of one goal and one source says whose fault
it was; but each file costs a request of the day. Files are as fine as the day's requests allow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from sinks.metrika.conversions import IdType, Placed

# A counter whose goals are to be told apart gets at most this many files at a time, whatever is left of the day.
_MOST_GOALS: Final = 50


class Key(NamedTuple):
    """What a file's rows have in common; ``None`` where they differ."""

    id_type: IdType
    target: str | None
    source: str | None


class Fineness(StrEnum):
    """How far files are told apart. The kind of identifier always is: it is the file's first column."""

    ID_TYPE = "id_type"
    GOAL = "goal"
    GOAL_AND_SOURCE = "goal_and_source"

    def key(self, id_type: IdType, target: str, source: str) -> Key:
        """Return the file that such a row belongs to."""
        if id_type is IdType.CONTACT:  # of orders Metrika counts nothing
            return Key(id_type, None, None)
        match self:
            case Fineness.ID_TYPE:
                return Key(id_type, None, None)
            case Fineness.GOAL:
                return Key(id_type, target, None)
            case Fineness.GOAL_AND_SOURCE:
                return Key(id_type, target, source)


def fineness(groups: Collection[tuple[IdType, str, str]], *, files: int, separate_goals: bool) -> Fineness:
    """Decide how fine the files of these groups (identifier, goal, source) are, where ``files`` can be afforded.

    With ``separate_goals`` Metrika has missed goals in a mixed file: they are told apart even where that costs more.
    """
    by_goal = {Fineness.GOAL.key(*group) for group in groups}
    if len({Fineness.GOAL_AND_SOURCE.key(*group) for group in groups}) <= files:
        return Fineness.GOAL_AND_SOURCE
    if len(by_goal) <= (max(files, _MOST_GOALS) if separate_goals else files):
        return Fineness.GOAL
    return Fineness.ID_TYPE


def common(rows: Sequence[Placed]) -> Key:
    """Return what rows of one kind of identifier have in common."""
    return Key(
        rows[0].id_type,
        _only({row.line.target for row in rows}),
        _only({row.source for row in rows}),
    )


def merged(one: Key, other: Key) -> Key:
    """Return what the rows of two parts of a file have in common."""
    return Key(
        one.id_type,
        one.target if one.target == other.target else None,
        one.source if one.source == other.source else None,
    )


def first_goals(sizes: Mapping[str, int]) -> frozenset[str]:
    """Return the goals of the first part of a refused file; none where it has only one goal, which is to be halved.

    Goals stay together while there are several, so that a bad goal stands alone after few requests.
    """
    first: set[str] = set()
    for target in sorted(sizes)[:-1]:
        first.add(target)
        if 2 * sum(sizes[one] for one in first) >= sum(sizes.values()):
            break
    return frozenset(first)


T = TypeVar("T")


def _only(values: set[T]) -> T | None:
    return next(iter(values)) if len(values) == 1 else None
