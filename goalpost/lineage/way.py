"""An event's way as steps in time: pure, from a stored row and the records that were found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from goalpost.dead_letters.letter import Letter, letter_of
from goalpost.lineage.answer import Change, EventLineage, Step, StoredRow
from goalpost.lineage.uploading import ledger_steps
from goalpost.moment import iso
from schemas.records import EVENT_ID_HEADER, Incoming, header, whole_number
from schemas.topics import CONVERSIONS, DEAD_LETTERS, RAW, REJECTED, UNFETCHED, WAITING

_LETTER_TOPICS: Final = frozenset({REJECTED.name, *(topic.name for topic in DEAD_LETTERS)})


def way_of(
    event_id: str,
    *,
    row: StoredRow | None,
    records: Iterable[Incoming],
    replayed: Iterable[Incoming] = (),
    notes: str | None = None,
) -> EventLineage:
    """Put one event's way together.

    ``records`` are those of the event found in topics; ``replayed`` the journal's marks of its letters; ``notes`` what
    its record says of how it was taken, where no row says it.
    """
    found = list(records)
    letters = [letter_of(record) for record in found if record.topic in _LETTER_TOPICS]
    marks = {(mark.key or b"").decode("utf-8", "replace"): mark for mark in replayed}
    places = {letter.identity: letter.place for letter in letters}
    steps = [
        *_travel_steps(found, stored=row is not None),
        *(_row_steps(row) if row is not None else ()),
        *map(_letter_step, letters),
        *(Step(at=mark.timestamp, what=_fate(mark), where=places.get(name, name)) for name, mark in marks.items()),
    ]
    open_letters = [letter for letter in letters if letter.identity not in marks]
    return EventLineage(
        event_id=event_id,
        state=_state(row, open_letters, found),
        steps=tuple(sorted(steps, key=_at)),
        row=row,
        notes=_sentences(notes if row is None else row.notes),
    )


def _sentences(notes: str | None) -> tuple[str, ...]:
    """Take apart what stands in one field, joined by ``"; "``."""
    return tuple(one for one in (notes or "").split("; ") if one)


def _fate(mark: Incoming) -> str:
    return (mark.value or b"").decode("utf-8", "replace")


def _at(step: Step) -> int:
    return step.at


def place_of(record: Incoming) -> str:
    """Return ``topic:partition:offset``."""
    return f"{record.topic}:{record.partition}:{record.offset}"


def _travel_steps(records: Iterable[Incoming], *, stored: bool) -> Iterator[Step]:
    """Yield what topics tell; a stored row knows its own first and last station better (``_row_steps``)."""
    for record in records:
        if record.topic == WAITING.name and record.value is not None:
            attempt = header(record.headers, "waiting.attempt") or "?"
            only = ", for its session only" if header(record.headers, "waiting.ahead") else ""
            times = f"{_time_in(record, 'waiting.since', 'since')}{_time_in(record, 'waiting.due', 'until')}"
            detail = f"delay {attempt}{times}{only}"
            yield Step(at=record.timestamp, what="waiting", where=place_of(record), detail=detail)
        elif record.topic == WAITING.name:
            yield Step(at=record.timestamp, what="wait_over", where=place_of(record))
        elif record.topic == RAW.name and not stored:
            yield Step(at=record.timestamp, what="received", where=place_of(record), detail=_webhook(record))
        elif record.topic == CONVERSIONS.name and not stored:
            yield Step(at=record.timestamp, what="resolved", where=place_of(record))
        elif record.topic == UNFETCHED.name:
            detail = f"{_webhook(record)}; `goalpost fetch` reads the deal"
            yield Step(at=record.timestamp, what="noted", where=place_of(record), detail=detail)


def _time_in(record: Incoming, name: str, word: str) -> str:
    at = whole_number(header(record.headers, name))
    return "" if at is None else f", {word} {iso(at)}"


def _webhook(record: Incoming) -> str:
    return f"webhook {header(record.headers, 'webhook_id') or '?'}"


def _letter_step(letter: Letter) -> Step:
    detail = f"{letter.error_class} at {letter.stage}: {letter.message}"
    return Step(at=letter.record.timestamp, what="dead_lettered", where=letter.place, detail=detail)


def _row_steps(row: StoredRow) -> Iterator[Step]:
    raw = f"{RAW.name}:{row.raw_partition}:{row.raw_offset}"
    if row.received_at is not None:
        detail = f"webhook {row.webhook_id}" + (f", from {row.source}" if row.source else "")
        yield Step(at=row.received_at, what="received", where=raw, detail=detail)
    if row.resolved_at is not None:
        place = f"{CONVERSIONS.name}:{row.conversion_partition}:{row.conversion_offset}"
        yield Step(at=row.resolved_at, what="resolved", where=place, detail=_session(row))
    worth = f"{row.price} {row.currency or ''}".strip()
    detail = f"goal {row.target} ({row.goal_rule}), {worth}" if row.target else ""
    detail += f", in the place of the amount of {row.corrects}" if row.corrects else ""
    yield Step(at=row.created_at, what="stored", where="webhook_conversions", detail=detail)
    if row.goal_appended:
        appended_at = row.created_at if (came_at := _session_came_at(row)) is None else came_at
        yield Step(at=appended_at, what="goal_appended", where="user_analytics", detail=f"row {row.analytics_row_id}")
    for at, what, where, said in ledger_steps(row.upload, row.refused):
        yield Step(at=at, what=what, where=where, detail=said)
    for change in row.changes:
        yield Step(at=change.at, what=change.stage, where=_upload_place(change), detail=_change_detail(row, change))


def _session_came_at(row: StoredRow) -> int | None:
    return next((change.at for change in row.changes if change.stage == "session_came"), None)


def _session(row: StoredRow) -> str:
    if row.session_missing or _session_came_at(row) is not None:
        return f"session missing after {row.attempts} delays; the event's own ids are used"
    return f"session {row.session_id}, row {row.analytics_row_id}"


def _upload_place(change: Change) -> str:
    if change.metrika_upload_id:
        return f"Metrika upload {change.metrika_upload_id}"
    if change.stage == "batched" and change.upload_token is not None:
        return f"upload {change.upload_token}"
    return "webhook_conversions"


def _change_detail(row: StoredRow, change: Change) -> str:
    if change.said:
        return f"{change.said} (by {change.actor})"
    if change.error_class or change.error_message:
        return f"{change.error_class or 'error'}: {change.error_message or ''} (by {change.actor})"
    upload = row.upload if row.upload is not None and row.upload.token == change.upload_token else None
    if change.stage == "processed" and upload is not None and upload.linked_quantity is not None:
        return f"{upload.linked_quantity} of {upload.line_quantity} lines linked (by {change.actor})"
    if change.stage == "batched" and upload is not None:
        return f"line {row.upload_line} of {upload.row_count} {upload.names_people} (by {change.actor})"
    return f"by {change.actor}"


def _state(row: StoredRow | None, open_letters: list[Letter], records: list[Incoming]) -> str:
    if row is not None:
        return row.stage or row.status
    if open_letters:
        return "dead_lettered"
    if any(record.topic == CONVERSIONS.name for record in records):
        return "resolved"
    if is_waiting(records):
        return "waiting"
    return "noted" if all(record.topic == UNFETCHED.name for record in records) else "received"


def is_waiting(records: Iterable[Incoming]) -> bool:
    """Tell whether a waiting record of the event is neither replaced nor released by a later one of its partition."""
    waiting = [record for record in records if record.topic == WAITING.name]
    released = {(record.partition, header(record.headers, "waiting.released")) for record in waiting}
    return any(
        record.value is not None and (record.partition, str(record.offset)) not in released for record in waiting
    )


def event_id_of(record: Incoming) -> str | None:
    """Return which event a record is of, by its header alone."""
    return header(record.headers, EVENT_ID_HEADER)
