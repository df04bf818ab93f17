"""Which notes are taken, which deal of which portal is next, and up to where everything is done. Pure.

One portal that is down must not hold up the others, so notes are done out of order and the committed offset is the
first that is not done. What is read again after a restart for that reason gives the same event ids.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from schemas.events import RawEvent
from schemas.records import Incoming

# Bitrix24 REST documentation, "Limits": two requests a second go on for ever.
REQUEST_SECONDS: Final = 0.5
# Those of a CRM have a few hundred bytes each; ten thousand of the largest that the topic takes would fill any memory.
_LIMIT_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """That a deal has changed: ``event.order_id`` is its number."""

    record: Incoming
    event: RawEvent

    @property
    def deal(self) -> str:
        """The deal's number."""
        assert self.event.order_id is not None  # noqa: S101 - the dialect writes no note without one
        return self.event.order_id


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """The notes of one webhook by deal; several of a deal are answered by one look at it."""

    deals: OrderedDict[str, list[Note]] = field(default_factory=OrderedDict)
    not_before: float = 0.0


class Notes:
    """The notes in hand, at most ``limit`` and not many more than ``limit_bytes``, of one partition."""

    def __init__(self, *, limit: int, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._waiting: dict[str, _Waiting] = {}
        self._open: set[int] = set()
        self._behind_last: int | None = None

    @property
    def full(self) -> bool:
        """Whether no more should be read."""
        return len(self._open) >= self._limit or self._bytes >= self._limit_bytes

    def seen(self, offset: int) -> None:
        """Note down that the record at ``offset`` was read; without :meth:`add` it is done."""
        self._behind_last = offset + 1

    def add(self, note: Note) -> None:
        """Take a note that has been seen."""
        self._open.add(note.record.offset)
        self._bytes += len(note.record.value or b"")
        waiting = self._waiting.setdefault(note.event.webhook_id, _Waiting())
        waiting.deals.setdefault(note.deal, []).append(note)

    def next_batch(self, now: float, *, limit: int) -> list[Note]:
        """Return the newest note of each of at most ``limit`` deals of the webhook that has waited longest, if any.

        They stay in hand until :meth:`done`. The webhook is not due again before the request's share of time is over.
        """
        due = [waiting for waiting in self._waiting.values() if waiting.deals and waiting.not_before <= now]
        if not due:
            return []
        waiting = min(due, key=lambda one: one.not_before)
        waiting.not_before = now + REQUEST_SECONDS
        return [notes[-1] for notes in list(waiting.deals.values())[:limit]]

    def rest(self, webhook_id: str, until: float) -> None:
        """Leave a webhook's portal alone until then."""
        self._waiting[webhook_id].not_before = until

    def done(self, notes: Iterable[Note]) -> None:
        """Forget ``notes`` and all older ones of the same deals: the deal was read after each of them was written."""
        for note in notes:
            deals = self._waiting[note.event.webhook_id].deals
            listed = deals.pop(note.deal)
            newer = [one for one in listed if one.record.offset > note.record.offset]
            if newer:
                deals[note.deal] = newer
            over = [one for one in listed if one.record.offset <= note.record.offset]
            self._open.difference_update(one.record.offset for one in over)
            self._bytes -= sum(len(one.record.value or b"") for one in over)

    def next_due(self) -> float | None:
        """When there is something to ask, or ``None``."""
        return min((waiting.not_before for waiting in self._waiting.values() if waiting.deals), default=None)

    def committable(self) -> int | None:
        """The offset up to which everything is done; ``None`` where nothing was read."""
        return min(self._open, default=self._behind_last)
