"""The loop of ``goalpost fetch bitrix24``: notes in, deals read, conversions out, and only then the offset."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from producers.dialects.outcome import Ignored, Reported, Unidentified
from producers.directory import Index
from producers.fetching.deals import conversion_of, stage_of
from producers.fetching.notes import Note, Notes
from producers.fetching.portal import BATCH_DEALS, Found, Portal, PortalBusy
from producers.fetching.records import published
from producers.fields import BadField
from producers.publisher import TooLarge
from producers.raw_events import delivery_of, ignored_record
from producers.times import DEFAULT_ZONE
from runtime import metrics
from runtime.attention import Attention
from runtime.failures import Fatal, Transient
from runtime.kafka import incoming, offsets_answered
from runtime.lifecycle import Heartbeat, Stop
from runtime.logs import logger, seldom
from runtime.reading import Reading
from runtime.sending import Sends
from runtime.vault import Vault
from schemas.codec import Codec, Undecodable, UnknownSchemaId
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import RawEvent, Webhook
from schemas.identity import letter_id_for
from schemas.records import Incoming, Outgoing, whole_number
from schemas.topics import UNFETCHED

STAGE: Final = "fetch"

# Notes in hand; while more than these wait for their portals nothing else is read.
NOTES_LIMIT: Final = 10_000
_READ: Final = 500
_POLL_SECONDS: Final = 1.0
_UNCONFIGURED_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 1.0
# The topics of webhooks and of notes are read apart: a webhook that was just added may come after its first note.
_NEW_SECONDS: Final = 10.0

_JSON: Final = "application/json"


class Fetcher:
    """Completes notes until it is asked to stop. ``portal_at`` gives a client for an address."""

    def __init__(
        self,
        connect: Callable[[], Consumer],
        sender: Sends,
        *,
        notes: Codec[RawEvent],
        events: Codec[RawEvent],
        vault: Vault,
        webhooks: Callable[[], Index],
        portal_at: Callable[[str], Portal],
        stop: Stop,
        heartbeat: Heartbeat,
        attention: Attention | None = None,
        zone: str = DEFAULT_ZONE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``connect`` makes a consumer that says when it is at the end of a partition; ``attention`` watches it."""
        self._reading = Reading(connect, self._subscribe, attention=attention or Attention(), name=STAGE)
        self._sender = sender
        self._note_codec = notes
        self._event_codec = events
        self._vault = vault
        self._webhooks = webhooks
        self._portal_at = portal_at
        self._stop = stop
        self._heartbeat = heartbeat
        self._zone = zone
        self._clock = clock
        self._monotonic = monotonic
        self._notes = Notes(limit=NOTES_LIMIT)
        self._committed: int | None = None
        self._paused = False
        self._waiting_for: Mapping[str, str] = {}

    def obstacles(self) -> Mapping[str, str]:
        """Return what the loop waits for; portals are not meant, each of which waits by itself."""
        return self._waiting_for

    def run(self) -> None:
        """Work until a stop is requested; what is in hand then is read again by the next process.

        Raises:
            Fatal: Kafka did not acknowledge; nothing of it is committed.
        """
        try:
            while not self._webhooks().complete and not self._stop.requested:
                self._alive()
                self._reading.attention.excuse()
                self._stop.wait(_PAUSE_SECONDS)
            while not self._stop.requested:
                self._alive()
                self._read()
                self._fetch()
                self._commit()
        finally:
            self._reading.close()

    def _subscribe(self, client: Consumer) -> None:
        self._start_anew()
        client.subscribe([UNFETCHED.name], on_assign=self._assigned, on_revoke=self._forget, on_lost=self._forget)

    def _read(self) -> None:
        """Take what has come; wait for it only as long as no portal is due."""
        if self._notes.full != self._paused:
            client = self._reading.client
            (client.pause if self._notes.full else client.resume)(client.assignment())
            self._paused = self._notes.full
        if self._paused:
            self._reading.attention.excuse()
        due = self._notes.next_due()
        wait = _POLL_SECONDS if due is None else min(_POLL_SECONDS, max(0.0, due - self._monotonic()))
        letters = [letter for message in self._reading.consume(_READ, wait) if (letter := self._take(message))]
        self._write(letters)

    def _take(self, message: Message) -> Outgoing | None:
        error = message.error()
        if error is not None:
            if error.fatal():
                raise Fatal(f"Kafka: {error.str()}. Start the process again.")
            if error.code() != KafkaError._PARTITION_EOF:
                seldom("kafka.failed", dependency=error.name(), error=error.str())
            return None
        record = incoming(message)
        metrics.RECEIVED.labels(STAGE).inc()
        self._notes.seen(record.offset)
        try:
            event = self._decoded(record)
        except Undecodable as exc:
            unknown = isinstance(exc, UnknownSchemaId)
            error_class = ErrorClass.SCHEMA_UNKNOWN if unknown else ErrorClass.UNDECODABLE
            return self._letter(record, error_class, exc.reason, stage=Stage.DECODE)
        if whole_number(event.order_id) is None:  # it becomes a part of what the portal is told to do
            return self._letter(record, ErrorClass.EVENT_INVALID, "the note names no deal by its number")
        self._notes.add(Note(record=record, event=event))
        return None

    def _decoded(self, record: Incoming) -> RawEvent:
        while True:
            try:
                event = self._note_codec.decode(record.value)
                self._waiting_for = {}
                return event
            except Transient as exc:
                metrics.RETRIED.labels(STAGE, type(exc).__name__).inc()
                seldom("dependency.unavailable", dependency="registry", error=str(exc))
                self._waiting_for = {"registry": str(exc)}
                self._alive()
                if self._stop.wait(_PAUSE_SECONDS):
                    raise

    def _fetch(self) -> None:
        """Ask one portal for the deals that are due, and publish what they are."""
        notes = self._notes.next_batch(self._monotonic(), limit=BATCH_DEALS)
        if not notes:
            return
        webhook_id = notes[0].event.webhook_id
        entry = self._webhooks().by_id.get(webhook_id.lower())
        if entry is None:
            self._without_webhook(webhook_id, notes)
            return
        try:
            with metrics.SECONDS.labels(STAGE).time():
                found = self._asked(entry.webhook, [note.deal for note in notes])
        except PortalBusy as exc:
            metrics.RETRIED.labels(STAGE, "portal").inc()
            logger().warning("portal.waited", webhook_id=webhook_id, error=str(exc), retry_seconds=exc.wait_seconds)
            self._notes.rest(webhook_id, self._monotonic() + exc.wait_seconds)
            return
        answered = [note for note in notes if note.deal in found.deals or note.deal in found.missing]
        self._write([record for note in answered for record in self._records(note, found, entry.webhook)])
        self._notes.done(answered)

    def _without_webhook(self, webhook_id: str, notes: Sequence[Note]) -> None:
        certain = self._webhooks().complete  # else it may only be unknown to this process
        if not certain or self._clock() - notes[-1].record.timestamp / 1000 < _NEW_SECONDS:
            self._notes.rest(webhook_id, self._monotonic() + _PAUSE_SECONDS)
            return
        reason = "the webhook was removed; add it again, then replay this letter"
        self._write([self._letter(one.record, ErrorClass.WEBHOOK_UNKNOWN, reason) for one in notes])
        self._notes.done(notes)

    def _asked(self, webhook: Webhook, numbers: Sequence[str]) -> Found:
        if webhook.sealed_fetch_url is None:
            why = "it is not known where to read deals; goalpost admin webhook change --fetch-url"
            raise PortalBusy(why, _UNCONFIGURED_SECONDS)
        try:
            address = self._vault.open(webhook.sealed_fetch_url)
        except Fatal as exc:
            raise PortalBusy(str(exc), _UNCONFIGURED_SECONDS) from exc
        return self._portal_at(address).deals(numbers)

    def _records(self, note: Note, found: Found, webhook: Webhook) -> list[Outgoing]:
        deal = found.deals.get(note.deal)
        if deal is None:
            said = found.missing[note.deal]
            why = f"Bitrix24 says of the deal: {said}; was it deleted, or may the webhook not see it?"
            return [self._letter(note.record, ErrorClass.DEAL_NOT_FOUND, why)]
        try:
            read_at = int(self._clock() * 1000)
            conversion = conversion_of(deal, note.event, webhook, zone=self._zone, read_at=read_at)
            match conversion:
                case Ignored():
                    metrics.IGNORED.labels(webhook.webhook_id, webhook.dialect, conversion.value).inc()
                    stage = stage_of(deal, webhook, now=note.event.received_at)
                    return [ignored_record(delivery_of(note.event), (conversion,), stage=stage)]
                case Unidentified():
                    why = "the deal names no visitor; fill in its field, or say in which one it is (--field ym_uid=...)"
                    return [self._letter(note.record, ErrorClass.NO_VISITOR, why)]
                case Reported():
                    for doubt in conversion.doubts:
                        metrics.DOUBTS.labels(webhook.webhook_id, webhook.dialect, doubt.value).inc()
                    records = published(conversion, deal, note.event, self._event_codec)
                    metrics.SENT.labels(STAGE, records[0].topic).inc(len(records))
                    return records
                case _:
                    assert_never(conversion)
        except (BadField, TooLarge) as exc:
            return [self._letter(note.record, ErrorClass.EVENT_INVALID, str(exc))]
        except Exception as exc:  # noqa: BLE001 - a portal's JSON may hold anything, and a note any time
            why = f"the deal cannot be read ({type(exc).__name__})"
            return [self._letter(note.record, ErrorClass.EVENT_INVALID, why)]

    def _letter(
        self, record: Incoming, error_class: ErrorClass, message: str, *, stage: Stage = Stage.FETCH
    ) -> Outgoing:
        metrics.REJECTED.labels(STAGE, error_class.value).inc()
        return letter_for(
            record,
            Reason(error_class=error_class, stage=stage, message=message),
            topic=UNFETCHED.dead_letters,
            now_ms=int(self._clock() * 1000),
            letter_id=letter_id_for(record),
        )

    def _commit(self) -> None:
        """Commit up to the first note that is not done."""
        offset = self._notes.committable()
        assigned = self._reading.client.assignment()
        if offset is None or offset == self._committed or not assigned:
            return
        places = [TopicPartition(place.topic, place.partition, offset) for place in assigned]
        try:
            # Not waited for: the call has no limit, and a broker that stands still would keep the loop in it for good.
            self._reading.client.commit(offsets=places, asynchronous=True)
            self._committed = offset
        except KafkaException as exc:
            offsets_answered(exc.args[0], places)

    def _write(self, records: Sequence[Outgoing]) -> None:
        """Write, for as long as it takes; what is in hand at a stop is read again."""
        while True:
            try:
                return self._sender.send(records)
            except Transient as exc:
                metrics.RETRIED.labels(STAGE, "kafka").inc()
                seldom("dependency.unavailable", dependency="kafka", error=str(exc))
                self._alive()
                if self._stop.wait(_PAUSE_SECONDS):
                    raise

    def _assigned(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        if self._reading.is_current(client):
            client.incremental_assign(partitions)
            self._reading.attention.owns((one.topic, one.partition) for one in client.assignment())

    def _forget(self, client: Consumer, _partitions: list[TopicPartition]) -> None:
        if self._reading.is_current(client):
            self._start_anew()
            self._reading.attention.owns(())

    def _start_anew(self) -> None:
        self._paused = False
        self._notes = Notes(limit=NOTES_LIMIT)
        self._committed = None

    def _alive(self) -> None:
        self._heartbeat.beat()
        metrics.PROGRESS.labels(STAGE).set(self._clock())
