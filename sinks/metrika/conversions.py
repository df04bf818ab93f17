"""What Metrika is sent: which identifier a conversion goes by, which second it gets, and the lines of the file.

Source of columns and rules: Metrika API documentation, "Offline conversions" (management/offline-conv).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from sinks.metrika.csv_text import amount, cell, in_chunks


class IdType(StrEnum):
    """How a file names people, in order of precedence: in a column of this name, or as CRM orders, by their contacts.

    Metrika does not say which identifier wins when a row has several, so a row is sent with one. ClientId first: it is
    the visitor, and the conversion joins the visit before it. Yclid joins the one visit of that click. UserId and
    PurchaseId depend on what the site reports to Metrika. Contacts find fewest visits (``orders``).
    """

    CLIENT_ID = "ClientId"
    YCLID = "Yclid"
    USER_ID = "UserId"
    PURCHASE_ID = "PurchaseId"
    CONTACT = "Contact"


# The columns after the identifier, as the API's documentation spells them.
_COLUMNS: Final = "Target,DateTime,Price,Currency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A stored conversion that may be uploaded now. ``second`` is when it happened, in epoch seconds.

    ``upload_second`` is the DateTime that it was given for an earlier file, which it keeps.
    """

    id: UUID
    client_id: str | None
    yclid: str | None
    user_id: str | None
    purchase_id: str | None
    target: str
    second: int
    upload_second: int | None
    price: Decimal | None
    currency: str | None
    source: str = ""
    deadline_at: datetime | None = None
    contact: str | None = None

    def identity(self) -> tuple[IdType, str]:
        """Return what it goes by. At least something is there: ``tables.conversions`` fails the others."""
        if self.client_id is not None:
            return IdType.CLIENT_ID, self.client_id
        if self.yclid is not None:
            return IdType.YCLID, self.yclid
        if self.user_id is not None:
            return IdType.USER_ID, self.user_id
        if self.purchase_id is not None:
            return IdType.PURCHASE_ID, self.purchase_id
        return IdType.CONTACT, self.contact or ""


class Goal(NamedTuple):
    """A visitor and a goal: Metrika keeps one conversion of a goal per visitor and second."""

    visitor: str
    target: str


class Line(NamedTuple):
    """One line of a file. ``second`` is its DateTime in epoch seconds."""

    visitor: str
    target: str
    second: int
    price: Decimal | None
    currency: str | None


class Placed(NamedTuple):
    """A conversion with the line that it becomes. ``source`` is the kind of webhook that it came from."""

    id: UUID
    id_type: IdType
    source: str
    line: Line


def place(candidates: Iterable[Candidate], *, taken: Mapping[Goal, Collection[int]], latest: int) -> list[Placed]:
    """Give each conversion its second: what it keeps for ever, whatever happens to its file.

    A conversion gets the second in which it happened or, where another of the same visitor and goal has that one, the
    next free one: Metrika would overwrite the first (documentation, FAQ: "the revenue is overwritten"). One whose free
    second lies after ``latest`` is left out and waits, because Metrika refuses a DateTime in the future.
    """
    used = {goal: set(seconds) for goal, seconds in taken.items()}
    placed: list[Placed] = []
    for candidate in sorted(candidates, key=lambda one: (one.second, one.id)):
        id_type, visitor = candidate.identity()
        goal = Goal(visitor, candidate.target)
        second = candidate.upload_second
        if second is None:
            second = _next_free(candidate.second, used.setdefault(goal, set()))
            if second > latest:
                continue
            used[goal].add(second)
        line = Line(*goal, second, candidate.price, candidate.currency)
        placed.append(Placed(candidate.id, id_type, candidate.source, line))
    return placed


def _next_free(second: int, used: Collection[int]) -> int:
    while second in used:
        second += 1
    return second


def csv_chunks(id_type: IdType, lines: Iterable[Line]) -> Iterator[bytes]:
    """Yield the file in pieces: the same bytes for the same lines, always."""
    return in_chunks(_lines(id_type, lines))


def _lines(id_type: IdType, lines: Iterable[Line]) -> Iterator[str]:
    yield f"{id_type.value},{_COLUMNS}"
    for line in lines:
        visitor, target, currency = map(cell, (line.visitor, line.target, line.currency or ""))
        yield f"{visitor},{target},{line.second},{amount(line.price)},{currency}"
