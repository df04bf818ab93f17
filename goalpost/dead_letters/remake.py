"""The record that goes back for a letter: as it was, with a changed value, or parsed anew from a request's body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from goalpost.dead_letters.letter import BODY_TOPICS, Letter
from goalpost.dead_letters.plan import Failed, Untouched, destination
from schemas.dead_letter import for_replay
from schemas.fitting import fits
from schemas.history import marked
from schemas.records import Headers, Outgoing, header
from schemas.topics import RAW, WAITING

_WAITING: Final = "waiting."
# Where a waiting record's event stands in crm.events.raw, and as what a letter says it.
_RAW_PLACE: Final = {
    "dlq.original.partition": "waiting.raw.partition",
    "dlq.original.offset": "waiting.raw.offset",
    "dlq.original.timestamp": "waiting.raw.timestamp",
}

Records = tuple[Outgoing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partly:
    """What a kept body reports by today's rules, while something else in it stays ignored; ``records`` may be none."""

    records: Records


class Parse(Protocol):
    """Makes the records of a kept request body."""

    def __call__(self, letter: Letter, body: bytes, run_id: str, fixed: bool) -> Records | Partly:
        """Return what ``body`` reports, given the run's id and whether it was fixed. Raises ``Unreadable``."""


class Fix(Protocol):
    """Changes what a letter holds."""

    def body(self, value: bytes) -> bytes | None:
        """Return a request body changed; ``None`` leaves it. Raises ``Unfixable``."""

    def record(self, letter: Letter, record: Outgoing) -> Outgoing | None:
        """Return ``record`` with another value; ``None`` leaves it. Raises ``Unfixable``."""


class Unfixable(ValueError):
    """The transform cannot be applied to this letter. The message quotes nothing of its content."""


class Unreadable(ValueError):
    """Today's parser refuses the body as well. The message is the parser's own."""


def remade(letter: Letter, *, run_id: str, fix: Fix | None, parse: Parse) -> Records | Partly | Failed | Untouched:
    """Return what to write for a letter that goes back.

    Raises:
        runtime.failures.Transient: the registry, or Kafka, does not answer.
    """
    try:
        if letter.record.topic in BODY_TOPICS:
            return _reparsed(letter, run_id, fix, parse)
        if fix is None:
            return _fitting((sent_back(letter, run_id=run_id),))
        changed = fix.record(letter, sent_back(letter, run_id=run_id, fixed=True))
        return Untouched() if changed is None else _fitting((marked(changed),))
    except (Unfixable, Unreadable) as exc:
        return Failed(why=str(exc))


def _reparsed(letter: Letter, run_id: str, fix: Fix | None, parse: Parse) -> Records | Partly | Failed | Untouched:
    body = letter.record.value or b""
    changed = body if fix is None else fix.body(body)
    if changed is None or (fix is not None and changed == body):
        return Untouched()
    made = parse(letter, changed, run_id, fix is not None)
    records = _fitting(tuple(map(marked, made.records if isinstance(made, Partly) else made)))
    if not isinstance(made, Partly) or isinstance(records, Failed):
        return records
    return replace(made, records=records) if records else Untouched()


def sent_back(letter: Letter, *, run_id: str, fixed: bool = False) -> Outgoing:
    """Return the record to write: key, value and headers as they were, replay count plus one."""
    record = for_replay(letter.record, run_id=run_id, fixed=fixed)
    if letter.origin_topic != WAITING.name:
        return record
    return marked(replace(record, topic=destination(letter), headers=_as_raw(record.headers)))


def _fitting(records: Records) -> Records | Failed:
    if all(map(fits, records)):
        return records
    return Failed(why="with what a replay adds, it is larger than a record can be")


def _as_raw(headers: Headers) -> Headers:
    """Say of a waiting record that it came from the raw topic, so that a second failure there tells the first."""
    places: dict[str, str] = {"dlq.original.topic": RAW.name}
    places |= {name: text for name, source in _RAW_PLACE.items() if (text := header(headers, source)) is not None}
    kept = tuple(pair for pair in headers if not pair[0].startswith(_WAITING))
    return tuple((name, places[name].encode() if name in places else value) for name, value in kept)
