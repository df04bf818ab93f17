"""Where an event stands, from all the places where it was seen: pure."""

from __future__ import annotations

from enum import IntFlag, StrEnum, auto


class Seen(IntFlag):
    """Places where an event was met. ``AHEAD`` is what the next stage has not committed yet, ``BEHIND`` what it has."""

    RAW_AHEAD = auto()
    RAW_BEHIND = auto()
    WAITING = auto()
    RESOLVED_AHEAD = auto()
    RESOLVED_BEHIND = auto()
    LETTER_OPEN = auto()
    LETTER_DISCARDED = auto()
    LETTER_DONE = auto()
    ROW = auto()


class Standing(StrEnum):
    """The one place that an event counts for."""

    STORED = "stored"
    WAITING = "waiting"
    DEAD_LETTERED = "dead_lettered"
    DISCARDED = "discarded"
    ON_ITS_WAY = "on_its_way"
    MISSING = "missing"


def standing_of(seen: Seen, *, recent: bool) -> Standing:
    """Return where an event stands.

    A row says more than anything before it: what came again, or was replayed, is stored all the same. ``recent`` means
    that something happened to it so shortly before that a later place may have been read before it got there.
    """
    if Seen.ROW in seen:
        return Standing.STORED
    if Seen.WAITING in seen:
        return Standing.WAITING
    if Seen.LETTER_OPEN in seen:
        return Standing.DEAD_LETTERED
    if seen & (Seen.RAW_AHEAD | Seen.RESOLVED_AHEAD) or recent:
        return Standing.ON_ITS_WAY
    if Seen.LETTER_DISCARDED in seen:
        return Standing.DISCARDED
    return Standing.MISSING


def what_is_missing(seen: Seen) -> str:
    """Return why a missing event should be somewhere."""
    if Seen.RESOLVED_BEHIND in seen:
        return "resolved, and the Postgres sink is past it, but it has no row"
    if Seen.LETTER_DONE in seen:
        return "its dead letter was replayed, but nothing followed"
    return "received, and the join is past it, but it is neither resolved, waiting nor dead-lettered"
