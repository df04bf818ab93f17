"""A run of raw events, or what is due in the waiting room, becomes the records to write: decode, look up, decide.

Talks to no broker: what it returns has to be written and acknowledged before its input may be forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from runtime import metrics
from schemas.codec import Undecodable
from schemas.construct import constructor
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.events import Conversion, EpochMillis, RawEvent, Session, Webhook
from schemas.fitting import fits
from schemas.identity import event_key
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, RAW, WAITING
from streams.letters import STAGE, letter, undecodable
from streams.resolve import (
    Ahead,
    GivenUp,
    Occasion,
    Outcome,
    Policy,
    Rejected,
    Rekey,
    Resolved,
    Wait,
    lookup_key,
    resolve,
)
from streams.waiting import (
    RELEASED_HEADER,
    Ticket,
    first_ticket,
    occasion_of,
    original_headers,
    raw_record,
    rekeyed_record,
    release_marker,
    ticket_of,
    waiting_record,
)

# What the broker takes, less some room for headers. Bytes that are no UTF-8 grow threefold on their way into a payload.
_LARGEST_BYTES: Final = 3 * 1024 * 1024 - 64 * 1024
# The ids in the headers stand in the value, too: with less than this they are no matter.
_SMALL_BYTES: Final = 512 * 1024


class Sessions(Protocol):
    """Where sessions are looked up: the state of one partition."""

    def sessions(self, keys: Sequence[bytes]) -> list[Session | None]:
        """The session under each key, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A decoded event with the raw record it came from; ``waiting`` is its record in the waiting room, if any."""

    event: RawEvent
    raw: Incoming
    occasion: Occasion
    waiting: Incoming | None = None
    ticket: Ticket | None = None


_attempt = constructor(_Attempt)
_outgoing = constructor(Outgoing)


class Join:
    """Turns records into records. ``decode`` raises Undecodable for what is no event, and nothing else."""

    def __init__(
        self,
        *,
        decode: Callable[[bytes | None], RawEvent],
        encode: Callable[[Conversion], bytes],
        webhook: Callable[[str], Webhook | None],
        policy: Policy,
        clock: Callable[[], EpochMillis],
    ) -> None:
        self._decode = decode
        self._encode = encode
        self._webhook = webhook
        self._policy = policy
        self._clock = clock

    def run(self, records: Sequence[Incoming], state: Sessions) -> list[Outgoing]:
        """Decide about raw events of one partition, in order."""
        metrics.RECEIVED.labels(STAGE).inc(len(records))
        attempts: list[_Attempt] = []
        written: list[Outgoing] = []
        for record in records:
            try:
                attempts.append(_attempt(event=self._decode(record.value), raw=record, occasion=occasion_of(record)))
            except Undecodable as error:
                written.append(letter(record, undecodable(error), now=self._clock()))
        return written + self._decide(attempts, state)

    def due(self, entries: Sequence[Incoming], state: Sessions) -> list[Outgoing]:
        """Decide again about records of the waiting room that are due; each is replaced or marked as released."""
        attempts, written = self._waiting(entries)
        return written + self._decide(attempts, state)

    def arrived(self, entries: Sequence[Incoming], state: Sessions, done: set[int]) -> list[Outgoing]:
        """Decide about waiting records before their time, because their session came.

        The offsets of those that are released go to ``done``; the others stay as they are until they are due.
        """
        attempts, written = self._waiting(entries)
        written += self._decide(attempts, state, early=True)
        released = (header(record.headers, RELEASED_HEADER) for record in written if record.topic == WAITING.name)
        done.clear()
        done.update(int(offset) for offset in released if offset is not None)
        return written

    def _waiting(self, entries: Sequence[Incoming]) -> tuple[list[_Attempt], list[Outgoing]]:
        """The attempts at waiting records, and the letters of those that are none."""
        attempts: list[_Attempt] = []
        written: list[Outgoing] = []
        for entry in entries:
            try:
                ticket = ticket_of(entry.headers)
                attempts.append(
                    _Attempt(
                        event=self._decode(entry.value),
                        raw=raw_record(entry, ticket),
                        occasion=ticket.occasion,
                        waiting=entry,
                        ticket=ticket,
                    )
                )
            except Undecodable as error:
                written += [letter(entry, undecodable(error), now=self._clock()), release_marker(entry)]
        return attempts, written

    def _decide(self, attempts: Sequence[_Attempt], state: Sessions, *, early: bool = False) -> list[Outgoing]:
        now = self._clock()
        written: list[Outgoing] = []
        results: Counter[str] = Counter()
        for attempt, session in zip(attempts, self._lookup(attempts, state), strict=True):
            if early and session is None:
                continue
            outcome = resolve(
                attempt.event,
                session,
                self._webhook(attempt.event.webhook_id),
                occasion=attempt.occasion,
                policy=self._policy,
                now=now,
            )
            if early and not isinstance(outcome, Resolved):
                continue  # its time has not come, and a delay that it has is not taken from it
            results[_name(outcome, attempt.occasion)] += 1
            self._write(attempt, outcome, now, written)
        for name, count in results.items():
            metrics.JOINED.labels(name).inc(count)
        return written

    def _lookup(self, attempts: Sequence[_Attempt], state: Sessions) -> list[Session | None]:
        """One read of the state for all attempts."""
        keys = [lookup_key(attempt.event, waiting_over=attempt.occasion.waiting_over) for attempt in attempts]
        wanted = [key for key in keys if key is not None]
        found = iter(state.sessions(wanted) if wanted else ())
        return [None if key is None else next(found) for key in keys]

    def _write(self, attempt: _Attempt, outcome: Outcome, now: EpochMillis, written: list[Outgoing]) -> None:
        match outcome:
            case Resolved(conversion=conversion):
                written.append(self._conversion(attempt, conversion, now))
            case Ahead(conversion=conversion, due=due):
                written += self._ahead(attempt, conversion, now, due)
                return
            case Wait(due=due):
                waiting = self._sendable(attempt, _waiting(attempt, now, due), now)
                written.append(waiting)
                if waiting.topic == WAITING.name:
                    return  # the new record itself says that it replaces the earlier one
            case Rekey(key=key):
                rekeyed = rekeyed_record(attempt.raw, key, attempt.occasion)
                written.append(self._sendable(attempt, rekeyed, now))
            case Rejected(reason=reason):
                written.append(letter(_as_first_sent(attempt), reason, now=now))
            case GivenUp():
                pass
            case _:
                assert_never(outcome)
        if attempt.waiting is not None:
            written.append(release_marker(attempt.waiting))

    def _ahead(self, attempt: _Attempt, conversion: Conversion, now: EpochMillis, due: EpochMillis) -> list[Outgoing]:
        """The conversion, and its event in the next delay; of one that is refused nothing is waited for any longer."""
        first, waiting = self._conversion(attempt, conversion, now), _waiting(attempt, now, due, ahead=True)
        if first.topic == CONVERSIONS.name and fits(waiting):
            return [first, waiting]
        return [first] if attempt.waiting is None else [first, release_marker(attempt.waiting)]

    def _conversion(self, attempt: _Attempt, conversion: Conversion, now: EpochMillis) -> Outgoing:
        """The conversion's record; an event from which none can be made is refused, because it never will be."""
        headers = (
            (EVENT_ID_HEADER, conversion.event_id.encode()),
            (WEBHOOK_ID_HEADER, conversion.webhook_id.encode()),
        )
        try:
            value = self._encode(conversion)
        except Exception as error:  # noqa: BLE001 - fastavro raises a dozen types for values that do not fit
            return letter(_as_first_sent(attempt), _unfit(attempt, type(error).__name__), now=now)
        record = _outgoing(topic=CONVERSIONS.name, key=attempt.raw.key, value=value, headers=headers)
        size = len(value) + len(attempt.raw.key or b"")
        if size > _LARGEST_BYTES or (size > _SMALL_BYTES and not fits(record)):
            return letter(_as_first_sent(attempt), _unfit(attempt, f"{size} bytes"), now=now)
        return record

    def _sendable(self, attempt: _Attempt, record: Outgoing, now: EpochMillis) -> Outgoing:
        """Return ``record``, or the event's letter where the broker would never take it."""
        if fits(record):
            return record
        return letter(_as_first_sent(attempt), _unfit(attempt, "it is too large"), now=now)


def _waiting(attempt: _Attempt, now: EpochMillis, due: EpochMillis, *, ahead: bool = False) -> Outgoing:
    if attempt.ticket is None or attempt.waiting is None:
        return waiting_record(attempt.raw, first_ticket(attempt.raw, now=now, due=due, ahead=ahead))
    return waiting_record(attempt.raw, attempt.ticket.again(due, ahead=ahead), replaces=attempt.waiting)


def _as_first_sent(attempt: _Attempt) -> Incoming:
    """The raw record as it was before it was re-published under its visitor's key, so that a replay starts afresh."""
    if not attempt.occasion.waiting_over:
        return attempt.raw
    return Incoming(
        topic=RAW.name,
        partition=attempt.occasion.raw_partition,
        offset=attempt.occasion.raw_offset,
        timestamp=attempt.raw.timestamp,
        key=event_key(attempt.event),
        value=attempt.raw.value,
        headers=original_headers(attempt.raw.headers),
    )


def _unfit(attempt: _Attempt, problem: str) -> Reason:
    message = f"the conversion does not fit its topic ({problem})"
    attempts = attempt.occasion.attempt + 1
    return Reason(error_class=ErrorClass.EVENT_INVALID, stage=Stage.JOIN, message=message, attempts=attempts)


def _name(outcome: Outcome, occasion: Occasion) -> str:
    match outcome:
        case Resolved(conversion=conversion):
            if occasion.went_ahead:
                return "session_late"
            return "session_missing" if conversion.session_missing else "resolved"
        case Ahead():
            return "session_missing"
    return {Wait: "waiting", Rekey: "rekeyed", Rejected: "rejected", GivenUp: "session_never"}[type(outcome)]
