"""What a replay does with each dead letter: pure. The dry run prints this, the execution does it, nothing else decides.

A letter goes back to its origin topic, untouched, and every effect behind it is idempotent by event id. The exception
is a conversion whose row is stored already: to write it again would change nothing, so its row becomes pending again,
unless an upload may have reached Metrika.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from goalpost.dead_letters.journal import Fate
from goalpost.dead_letters.letter import BODY_TOPICS, UNKNOWN, Letter
from schemas.dead_letter import ErrorClass
from schemas.events import EpochMillis
from schemas.topics import CONVERSIONS, RAW, SESSIONS, TOPICS, WAITING, WEBHOOKS, topic_named

_OUR_TOPICS: Final = frozenset(topic.name for topic in TOPICS)
_OF_EVENTS: Final = frozenset({RAW.name, WAITING.name, CONVERSIONS.name})

# The only upload that surely did not reach Metrika's counter; any other may have.
_REFUSED: Final = "rejected"
_FAILED: Final = "failed"
_UNFINISHED: Final = frozenset({"stored", "batched", _FAILED})

_ALL_EFFECTS: Final = ("row", "goal", "upload")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadState:
    """An upload that has carried the row: its token, Metrika's id of it if known, and its state in the ledger."""

    token: str
    metrika_upload_id: str | None
    state: str

    def __str__(self) -> str:
        return f"upload {self.metrika_upload_id or self.token} ({self.state})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowState:
    """A row of ``webhook_conversions``; rows that goalpost did not write have no stage.

    ``resets`` counts how often a replay made it pending again; ``anonymous`` says that it names no visitor any more.
    """

    event_id: str
    stage: str | None
    deadline_ms: EpochMillis | None
    uploads: tuple[UploadState, ...] = ()
    resets: int = 0
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often a letter may be replayed, and how old its record may be (``oldest_ms``, when it was first written)."""

    max_replays: int
    oldest_ms: EpochMillis = 0
    discarded_too: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Republish:
    """The record is written to ``topic`` again. ``effects`` is what can follow from it; each happens once at most.

    ``partly``: something in it stays ignored, so that the letter stays open for a rule that makes more of it.
    """

    topic: str
    effects: tuple[str, ...] = _ALL_EFFECTS
    fixed: bool = False
    partly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRow:
    """The row goes back to pending, and the Metrika sink uploads it. ``note`` warns of what will not work."""

    event_id: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Every effect has happened or is on its way, so the letter is closed; ``why`` says so."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """It must not be replayed; ``why`` says what stands in the way."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Replay is not the way, or it was done before; ``why`` says so."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """The transform left it as it was, or no rule makes a conversion of it yet, so it stays where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The transform or today's parser cannot make a record of it; ``why`` quotes nothing of its content."""

    why: str


Action = Republish | ResetRow | Settle | Blocked | Skipped | Untouched | Failed


def needs_row(letter: Letter) -> bool:
    """Tell whether the decision depends on the conversion's row in Postgres."""
    return letter.origin_topic in _OF_EVENTS and bool(letter.event_id)


def action_for(
    letter: Letter, *, row: RowState | None, fate: Fate | None, limits: Limits, now_ms: EpochMillis
) -> Action:
    """Decide about one letter.

    ``row`` is its row where :func:`needs_row` says so and Postgres has one; ``fate`` what became of this very letter.
    """
    if fate is not None and not (fate is Fate.DISCARDED and limits.discarded_too):
        return Skipped(why=f"already {fate.value}")
    refused = _not_replayable(letter)
    if refused is not None:
        return refused
    if letter.origin_ms < limits.oldest_ms:
        return Blocked(why="its record is older than --max-age")
    if max(letter.replays, row.resets if row is not None else 0) >= limits.max_replays:
        return Blocked(why=f"replayed {limits.max_replays} times already; mend the cause, then raise --max-replays")
    if letter.effects_done and not letter.event_id:
        return Blocked(why="it has no event_id header, so its row cannot be found")
    if letter.error_class == ErrorClass.AMOUNT_CHANGED:
        # The sink takes the record's return for a person's word that this amount counts.
        return Republish(topic=destination(letter), effects=("row", "upload"))
    if row is not None:
        return _row_action(row, now_ms)
    return Republish(topic=destination(letter), effects=_effects_of(letter))


def _not_replayable(letter: Letter) -> Skipped | Blocked | None:
    if letter.record.topic in BODY_TOPICS:
        return None
    if letter.cut:
        return Blocked(why=f"its {letter.cut} was too large to be kept; the record itself stands at {letter.origin}")
    if letter.origin_topic == WEBHOOKS.name:
        return Skipped(why="a newer configuration may be published; use `goalpost admin webhook publish`")
    if letter.origin_topic == UNKNOWN or letter.origin_topic not in _OUR_TOPICS:
        return Blocked(why=f"its origin, {letter.origin_topic}, is no topic of goalpost")
    if topic_named(letter.origin_topic).dead_letters != letter.record.topic:
        return Blocked(
            why=f"letters of {letter.origin_topic} do not stand in {letter.record.topic}; goalpost did not write it"
        )
    return None


def _row_action(row: RowState, now_ms: EpochMillis) -> Action:
    if row.stage is None:
        return Skipped(why="its row is not of goalpost")
    taken = next((upload for upload in row.uploads if upload.state != _REFUSED), None)
    if row.stage not in _UNFINISHED:
        return Settle(why=f"its row is {row.stage}" + (f" by {taken}" if taken is not None else ""))
    if taken is not None:
        return Blocked(why=f"{taken}: Metrika may have the row")
    if row.anonymous:
        return Skipped(why="its visitor was erased, or it is older than personal data is kept")
    if row.stage != _FAILED:
        return Settle(why=f"its row is {row.stage} and will be uploaded")
    late = row.deadline_ms is not None and row.deadline_ms <= now_ms
    return ResetRow(event_id=row.event_id, note="its deadline has passed, so it will expire again" if late else "")


def _effects_of(letter: Letter) -> tuple[str, ...]:
    return ("session",) if letter.origin_topic == SESSIONS.name else _ALL_EFFECTS


def destination(letter: Letter) -> str:
    """Return the topic that a letter's record goes back to.

    A waiting record holds the raw event untouched; from the raw topic it begins its way, and its delays, anew. So does
    what a kept request body reports.
    """
    anew = letter.origin_topic == WAITING.name or letter.record.topic in BODY_TOPICS
    return RAW.name if anew else letter.origin_topic
