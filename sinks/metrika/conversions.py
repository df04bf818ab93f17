"""What Metrika is sent: which identifier a conversion goes by, which second it gets, and the lines of the file.

Source of columns and rules: Metrika API documentation, "Offline conversions" (management/offline-conv).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID


class IdType(StrEnum):
    """The identifier column of a file, in order of precedence.

    Metrika does not say which identifier wins when a row has several, so a row is sent with one. ClientId first: it is
    the visitor, and the conversion joins the visit before it. Yclid joins the one visit of that click. UserId and
    PurchaseId depend on what the site reports to Metrika.
    """

    CLIENT_ID = "ClientId"
    YCLID = "Yclid"
    USER_ID = "UserId"
    PURCHASE_ID = "PurchaseId"


_LINE_END: Final = "\n"  # as in the documented sample; RFC 4180 readers take both


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

    def identity(self) -> tuple[IdType, str]:
        """Return the identifier that it goes by. At least one is there: ``tables.conversions`` fails the others."""
        if self.client_id is not None:
            return IdType.CLIENT_ID, self.client_id
        if self.yclid is not None:
            return IdType.YCLID, self.yclid
        if self.user_id is not None:
            return IdType.USER_ID, self.user_id
        return IdType.PURCHASE_ID, self.purchase_id or ""


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
    """A conversion with the line that it becomes."""

    id: UUID
    line: Line


def place(
    candidates: Iterable[Candidate], *, taken: Mapping[Goal, Collection[int]], latest: int
) -> dict[IdType, list[Placed]]:
    """Give each conversion its second and sort them by identifier: what one file each will hold.

    A conversion gets the second in which it happened or, where another of the same visitor and goal has that one, the
    next free one: Metrika would overwrite the first (documentation, FAQ: "the revenue is overwritten"). One whose free
    second lies after ``latest`` is left out and waits, because Metrika refuses a DateTime in the future.
    """
    used = {goal: set(seconds) for goal, seconds in taken.items()}
    files: dict[IdType, list[Placed]] = {kind: [] for kind in IdType}
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
        files[id_type].append(Placed(candidate.id, line))
    return {kind: placed for kind, placed in files.items() if placed}


def _next_free(second: int, used: Collection[int]) -> int:
    while second in used:
        second += 1
    return second


def csv_file(id_type: IdType, lines: Iterable[Line]) -> bytes:
    """Return the file: the same bytes for the same lines, always. Only the bytes are held, so ``lines`` may stream."""
    body = io.BytesIO()
    text = io.TextIOWrapper(body, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator=_LINE_END)
    writer.writerow((id_type.value, "Target", "DateTime", "Price", "Currency"))
    for line in lines:
        writer.writerow((line.visitor, line.target, line.second, _price(line.price), line.currency or ""))
    return body.getvalue()


def _price(price: Decimal | None) -> str:
    # Decimal dot, no exponent, no idle zeros: 123.4500 becomes 123.45 as in the documented sample.
    return "" if price is None else f"{price.normalize():f}"


def fingerprint(body: bytes) -> str:
    """Return the SHA-256 of a file in hex."""
    return hashlib.sha256(body).hexdigest()
