"""What the waiting room's records say in their headers, so that the topic alone tells any worker what waits.

An event waits as its untouched value bytes. A record may replace an earlier one of its partition
(``waiting.released``); one without a value only says that the earlier one is done with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from schemas.codec import Undecodable
from schemas.construct import constructor
from schemas.events import EpochMillis
from schemas.records import LARGEST_LONG, Headers, Incoming, Outgoing, header, whole_number
from schemas.topics import RAW, WAITING
from streams.resolve import Occasion

_PREFIX: Final = "waiting."
_ATTEMPT: Final = "waiting.attempt"
_SINCE: Final = "waiting.since"
_DUE: Final = "waiting.due"
_RAW_PARTITION: Final = "waiting.raw.partition"
_RAW_OFFSET: Final = "waiting.raw.offset"
_RAW_TIMESTAMP: Final = "waiting.raw.timestamp"
RELEASED_HEADER: Final = "waiting.released"
# Its conversion is written already; what waits is only its session.
_AHEAD: Final = "waiting.ahead"
# On a record of crm.events.raw: it has waited already, this many delays, and must not wait again.
_OVER: Final = "waiting.over"

# Attempts and partitions are Avro ints in a conversion, the rest longs.
_INTS: Final = frozenset({_ATTEMPT, _OVER, _RAW_PARTITION})
_LARGEST_INT: Final = 2**31 - 1

_occasion = constructor(Occasion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What an event in the waiting room carries: its attempt (1 in the first delay), since and until when, whence.

    ``went_ahead`` says that its conversion is written already.
    """

    attempt: int
    since: EpochMillis
    due: EpochMillis
    raw_partition: int
    raw_offset: int
    raw_timestamp: EpochMillis
    went_ahead: bool = False

    @property
    def occasion(self) -> Occasion:
        """The attempt that is made when it is due."""
        return Occasion(
            attempt=self.attempt,
            raw_partition=self.raw_partition,
            raw_offset=self.raw_offset,
            went_ahead=self.went_ahead,
        )

    def again(self, due: EpochMillis, *, ahead: bool = False) -> Ticket:
        """The ticket of the next delay; ``ahead`` where the conversion goes ahead now."""
        return replace(self, attempt=self.attempt + 1, due=due, went_ahead=self.went_ahead or ahead)


def first_ticket(record: Incoming, *, now: EpochMillis, due: EpochMillis, ahead: bool = False) -> Ticket:
    """The ticket of a raw record's first delay."""
    return Ticket(
        attempt=1,
        since=now,
        due=due,
        raw_partition=record.partition,
        raw_offset=record.offset,
        raw_timestamp=max(0, record.timestamp),  # -1 where its producer gave none
        went_ahead=ahead,
    )


def ticket_of(headers: Headers) -> Ticket:
    """Read the ticket of a waiting record.

    Raises:
        Undecodable: a ``waiting.*`` header is missing or no number.
    """
    return Ticket(
        attempt=_number(headers, _ATTEMPT),
        since=_number(headers, _SINCE),
        due=_number(headers, _DUE),
        raw_partition=_number(headers, _RAW_PARTITION),
        raw_offset=_number(headers, _RAW_OFFSET),
        raw_timestamp=_number(headers, _RAW_TIMESTAMP),
        went_ahead=went_ahead(headers),
    )


def went_ahead(headers: Headers) -> bool:
    """Whether the conversion of an event that waits (again) is written already."""
    return header(headers, _AHEAD) is not None


def released_by(headers: Headers) -> int | None:
    """The offset of the waiting record that this one replaces or ends.

    Raises:
        Undecodable: the header is no number.
    """
    return None if header(headers, RELEASED_HEADER) is None else _number(headers, RELEASED_HEADER)


def ends_a_wait(headers: Headers) -> bool:
    """Whether a waiting record replaces or ends an earlier one, or says that a conversion went ahead."""
    return any(name in (RELEASED_HEADER, _AHEAD) for name, _ in headers)


def occasion_of(record: Incoming) -> Occasion:
    """Read which attempt a record of ``crm.events.raw`` is: the first, or the one after all waiting.

    Raises:
        Undecodable: a ``waiting.*`` header is no number.
    """
    if header(record.headers, _OVER) is None:
        return _occasion(attempt=0, raw_partition=record.partition, raw_offset=record.offset)
    return Occasion(
        attempt=_number(record.headers, _OVER),
        raw_partition=_number(record.headers, _RAW_PARTITION),
        raw_offset=_number(record.headers, _RAW_OFFSET),
        waiting_over=True,
        went_ahead=went_ahead(record.headers),
    )


def waiting_record(raw: Incoming, ticket: Ticket, *, replaces: Incoming | None = None) -> Outgoing:
    """The record that puts an event into its next delay; ``replaces`` is the waiting record of the delay before."""
    described = {
        _ATTEMPT: ticket.attempt,
        _SINCE: ticket.since,
        _DUE: ticket.due,
        _RAW_PARTITION: ticket.raw_partition,
        _RAW_OFFSET: ticket.raw_offset,
        _RAW_TIMESTAMP: ticket.raw_timestamp,
    }
    if ticket.went_ahead:
        described[_AHEAD] = 1
    if replaces is not None:
        described[RELEASED_HEADER] = replaces.offset
    headers = original_headers(raw.headers) + _encoded(described)
    # Beside the record that it replaces, whatever that one's headers say.
    partition = raw.partition if replaces is None else replaces.partition
    return Outgoing(topic=WAITING.name, key=raw.key, value=raw.value, headers=headers, partition=partition)


def release_marker(waiting: Incoming) -> Outgoing:
    """The record that says that a waiting record is done with."""
    headers = _encoded({RELEASED_HEADER: waiting.offset})
    return Outgoing(topic=WAITING.name, key=waiting.key, value=None, headers=headers, partition=waiting.partition)


def rekeyed_record(raw: Incoming, key: bytes, occasion: Occasion) -> Outgoing:
    """The event under its visitor's key, marked so that it does not wait again."""
    described = {_OVER: occasion.attempt, _RAW_PARTITION: occasion.raw_partition, _RAW_OFFSET: occasion.raw_offset}
    if occasion.went_ahead:
        described[_AHEAD] = 1
    headers = original_headers(raw.headers) + _encoded(described)
    return Outgoing(topic=RAW.name, key=key, value=raw.value, headers=headers)


def raw_record(waiting: Incoming, ticket: Ticket) -> Incoming:
    """The raw record that a waiting record came from, as it stood in ``crm.events.raw``."""
    return Incoming(
        topic=RAW.name,
        partition=ticket.raw_partition,
        offset=ticket.raw_offset,
        timestamp=ticket.raw_timestamp,
        key=waiting.key,
        value=waiting.value,
        headers=original_headers(waiting.headers),
    )


def original_headers(headers: Headers) -> Headers:
    """The headers that the event had before it waited."""
    return tuple(pair for pair in headers if not pair[0].startswith(_PREFIX))


def _encoded(described: dict[str, int]) -> Headers:
    return tuple((name, str(number).encode()) for name, number in described.items())


def _number(headers: Headers, name: str) -> int:
    """Read a header that the state, the conversion's schema and Kafka can hold; anything else is a bad record."""
    number = whole_number(header(headers, name), largest=_LARGEST_INT if name in _INTS else LARGEST_LONG)
    if number is None:
        raise Undecodable(f"its header {name} is no number that it could be")
    return number
