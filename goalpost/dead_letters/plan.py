"""What a replay does with each dead letter: pure. The dry run prints this, the execution does it, nothing else decides.

A letter goes back to its origin topic, untouched, and every effect behind it is idempotent by event id. The exception
is a conversion whose row is stored already: to write it to ``crm.conversions`` again would change nothing, so its row
becomes pending again, unless an upload may have reached Metrika.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from goalpost.dead_letters.letter import UNKNOWN, Letter
from schemas.dead_letter import ErrorClass, for_replay
from schemas.records import Outgoing
from schemas.topics import CONVERSIONS, RAW, REJECTED, TOPICS, WAITING, WEBHOOKS

_UPLOAD_CLASSES: Final = frozenset({ErrorClass.METRIKA_REJECTED.value, ErrorClass.EXPIRED.value})
_OUR_TOPICS: Final = frozenset(topic.name for topic in TOPICS)
_WAITING_HEADERS: Final = "waiting."

# The only upload that surely did not reach Metrika's counter; any other may have.
_REFUSED: Final = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadState:
    """An upload that has carried the row: its token, Metrika's id of it if known, and its state in the ledger."""

    token: str
    metrika_upload_id: str | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowState:
    """A row of ``webhook_conversions``; rows that goalpost did not write have no stage. ``deadline_ms`` since epoch."""

    event_id: str
    stage: str | None
    deadline_ms: int | None
    uploads: tuple[UploadState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Republish:
    """The record is written to ``topic`` again."""

    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRow:
    """The row goes back to pending, and the Metrika sink uploads it. ``note`` warns of what will not work."""

    event_id: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """It must not be replayed; ``why`` says what stands in the way."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """There is nothing to do, or replay is not the way; ``why`` says so."""

    why: str


Action = Republish | ResetRow | Blocked | Skipped


def needs_row(letter: Letter) -> bool:
    """Tell whether the decision depends on the conversion's row in Postgres."""
    return letter.origin_topic == CONVERSIONS.name and (
        letter.effects_done == "row" or letter.error_class in _UPLOAD_CLASSES
    )


def action_for(
    letter: Letter, *, row: RowState | None, replayed: bool, earlier_replays: int, max_replays: int, now_ms: int
) -> Action:
    """Decide about one letter.

    ``row`` is its row where :func:`needs_row` says so and Postgres has one; ``replayed`` whether this very letter was
    replayed before; ``earlier_replays`` how often letters of the same event were.
    """
    if replayed:
        return Skipped(why="already replayed")
    refused = _not_replayable(letter)
    if refused is not None:
        return refused
    if max(letter.replays, earlier_replays) >= max_replays:
        return Blocked(why=f"replayed {max_replays} times already; mend the cause, then raise --max-replays")
    if needs_row(letter) and not letter.event_id:
        return Blocked(why="it has no event_id header, so its row cannot be found")
    if needs_row(letter) and row is not None:
        return _row_action(row, now_ms)
    return Republish(topic=_destination(letter))


def _not_replayable(letter: Letter) -> Skipped | Blocked | None:
    if letter.record.topic == REJECTED.name:
        return Skipped(
            why="a request body that the webhook service could not read; look at it with `goalpost dlq show`"
        )
    if letter.origin_topic == WEBHOOKS.name:
        return Skipped(why="a newer configuration may be published; use `goalpost admin webhook publish`")
    if letter.origin_topic == UNKNOWN or letter.origin_topic not in _OUR_TOPICS:
        return Blocked(why=f"its origin, {letter.origin_topic}, is no topic of goalpost")
    return None


def _row_action(row: RowState, now_ms: int) -> Action:
    taken = next((upload for upload in row.uploads if upload.state != _REFUSED), None)
    if taken is not None:
        return Blocked(
            why=f"upload {taken.metrika_upload_id or taken.token} is {taken.state}: Metrika may have the row"
        )
    if row.stage != "failed":
        return Skipped(why=f"its row is {row.stage or 'not of goalpost'}")
    late = row.deadline_ms is not None and row.deadline_ms <= now_ms
    return ResetRow(event_id=row.event_id, note="its deadline has passed, so it will expire again" if late else "")


def _destination(letter: Letter) -> str:
    # A waiting record holds the raw event untouched; from the raw topic it begins its way, and its delays, anew.
    return RAW.name if letter.origin_topic == WAITING.name else letter.origin_topic


def republished(letter: Letter, action: Republish) -> Outgoing:
    """Return the record to write: key, value and headers as they were, replay count plus one."""
    record = for_replay(letter.record)
    if letter.origin_topic != WAITING.name:
        return record
    headers = tuple((name, value) for name, value in record.headers if not name.startswith(_WAITING_HEADERS))
    return replace(record, topic=action.topic, headers=headers)
