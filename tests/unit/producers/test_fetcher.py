"""The fetcher while it is not certain which webhooks there are, and while Kafka acknowledges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from producers.directory import Index, index_of
from producers.fetching.fetcher import Fetcher
from producers.fetching.notes import Note, Notes
from runtime.kafka import DeliveryFailed
from runtime.lifecycle import Heartbeat, Stop
from runtime.sending import Unacknowledged
from schemas.events import RawEvent
from schemas.records import Incoming, Outgoing, header
from schemas.topics import UNFETCHED

LONG_AGO_MS = 1_000
NOW = 1_800_000_000.0


class Letters:
    """A sender that Kafka leaves without an answer a few times."""

    def __init__(self, *, silent: int = 0) -> None:
        self.silent = silent
        self.written: list[Outgoing] = []

    def send(self, records: Sequence[Outgoing]) -> None:
        if self.silent:
            self.silent -= 1
            raise Unacknowledged(DeliveryFailed("t", "timed out"))
        self.written += records


class AtOnce(Stop):
    """Nobody waits in a test."""

    def wait(self, seconds: float) -> bool:
        del seconds
        return self.requested


def fetcher(index: Index, letters: Letters) -> Fetcher:
    made = Fetcher(
        cast(Any, None),
        letters,
        notes=cast(Any, None),
        events=cast(Any, None),
        vault=cast(Any, None),
        webhooks=lambda: index,
        portal_at=cast(Any, None),
        stop=AtOnce(),
        heartbeat=Heartbeat(),
        clock=lambda: NOW,
        monotonic=lambda: 0.0,
    )
    record = Incoming(
        topic=UNFETCHED.name, partition=0, offset=0, timestamp=LONG_AGO_MS, key=b"k", value=b"v", headers=()
    )
    event = RawEvent(
        event_id="e", webhook_id="gone", dialect="bitrix24_event", received_at=0, occurred_at=0, order_id="7"
    )
    made._notes = Notes(limit=10)
    made._notes.seen(0)
    made._notes.add(Note(record=record, event=event))
    return made


def test_a_webhook_that_is_not_known_is_waited_for_until_it_is_certain_that_there_is_none() -> None:
    uncertain = Letters()
    fetcher(index_of([], complete=False), uncertain)._fetch()
    assert uncertain.written == []
    certain = Letters()
    fetcher(index_of([]), certain)._fetch()
    (letter,) = certain.written
    assert header(letter.headers, "dlq.error.class") == "webhook_unknown"


def test_what_kafka_does_not_acknowledge_is_written_again() -> None:
    letters = Letters(silent=3)
    fetcher(index_of([]), letters)._fetch()
    assert len(letters.written) == 1
