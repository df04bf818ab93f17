"""The loop of a sink that reads topics: poll, decode, write, dead-letter what is refused, commit.

Offsets are committed only behind records whose effects or dead letters are durable, so a crash at any point repeats
records and never loses one; sinks make a repeat harmless. While a dependency is down the partitions are paused and the
loop keeps polling: the process stays in its group, holds its batch, and says what it waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Generic, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from runtime import metrics
from runtime.attention import Attention
from runtime.breaker import WALL_OF_ONE, Breaker, TooManyRejects
from runtime.failures import Transient
from runtime.kafka import incoming, offsets_answered
from runtime.lifecycle import Heartbeat, Stop
from runtime.logs import logger, seldom
from runtime.reading import Reading
from runtime.sending import Sends
from schemas.codec import Undecodable
from schemas.dead_letter import redacted
from schemas.records import Incoming, Outgoing
from schemas.topics import Topic
from sinks.contract import Item, Refused, Sink
from sinks.letters import letter_of, reject_of, undecodable
from sinks.messages import holds_record

# How long the loop sleeps where there is nothing to read; a record ends the sleep at once.
_POLL_SECONDS: Final = 1.0
# After so much quiet the sink looks whether its dependencies are still there, so that /readyz tells before work comes.
_QUIET_SECONDS: Final = 5.0
# A dependency that is back is noticed within five seconds; nobody is flooded with attempts meanwhile.
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 5.0

T = TypeVar("T")


class SinkLoop(Generic[T]):
    """Runs one sink until it is asked to stop. All methods but ``obstacles`` belong to one thread."""

    def __init__(
        self,
        connect: Callable[[], Consumer],
        sink: Sink[T],
        letters: Sends,
        *,
        topics: Sequence[Topic],
        batch_rows: int,
        stop: Stop,
        heartbeat: Heartbeat,
        group: str,
        breaker: Breaker,
        attention: Attention | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``connect`` makes a consumer that says when it is at the end of a partition; ``attention`` watches it."""
        self._reading = Reading(connect, self._subscribe, attention=attention or Attention(), name=sink.name)
        self._sink = sink
        self._letters = letters
        self._topics = topics
        self._batch_rows = batch_rows
        self._stop = stop
        self._heartbeat = heartbeat
        self._group = group
        self._breaker = breaker
        self._clock = clock
        self._monotonic = monotonic
        self._owned: set[tuple[str, int]] = set()
        self._held: list[Incoming] = []
        self._paused = False
        self._waiting_for: dict[str, str] = {"start": "the sink has not reached its dependencies yet"}
        self._last_work = monotonic()

    def obstacles(self) -> Mapping[str, str]:
        """Return what the sink waits for; empty means that it can work."""
        reader = self._reading.attention.obstacle()
        return dict(self._waiting_for) or ({} if reader is None else {"reader": reader})

    def run(self) -> None:
        """Work until a stop is requested. What is in hand then is finished, or left uncommitted for the next owner."""
        try:
            self._insist(self._sink.open)
            while not self._stop.requested:
                self._round()
        finally:
            self._reading.close()
            self._sink.close()

    def _subscribe(self, client: Consumer) -> None:
        """Join the group with a new client. What another one had read and not committed is read again."""
        self._owned, self._held, self._paused = set(), [], False
        client.subscribe(
            [topic.name for topic in self._topics],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )

    def _round(self) -> None:
        self._alive()
        polled = self._polled()  # before the next line: a revocation on the way replaces what is held
        self._held += polled
        if self._held:
            with metrics.SECONDS.labels(self._sink.name).time():
                self._insist(self._settle)
            self._last_work = self._monotonic()
        elif self._monotonic() - self._last_work > _QUIET_SECONDS:
            self._insist(self._sink.probe)
            self._last_work = self._monotonic()

    def _settle(self) -> None:
        """One batch from decoding to commit. A revoked partition's records have left ``_held`` by now."""
        records = tuple(self._held)
        items, undecodable = self._decoded(records)
        refused = (*undecodable, *self._sink.write(items))
        rejects = [reject_of(one) for one in refused]
        self._breaker.check(len(records), rejects)
        self._letters.send([self._letter(one) for one in refused])
        self._commit(records)
        wall_of = self._breaker.passed(len(records), rejects)
        if wall_of is not None:
            logger().error("rejects.of_one_sender", sender=wall_of, action=WALL_OF_ONE)
        self._held.clear()

    def _polled(self) -> list[Incoming]:
        """Return what has arrived, at most a batch. Waits for the first record only, never for a batch to fill."""
        first = self._reading.poll(_POLL_SECONDS)
        if first is None:
            return []
        rest = self._reading.consume(self._batch_rows - 1, 0) if self._batch_rows > 1 else []
        records = [incoming(message) for message in (first, *rest) if holds_record(message)]
        metrics.RECEIVED.labels(self._sink.name).inc(len(records))
        return [record for record in records if (record.topic, record.partition) in self._owned]

    def _decoded(self, records: Sequence[Incoming]) -> tuple[list[Item[T]], list[Refused]]:
        items: list[Item[T]] = []
        refused: list[Refused] = []
        for record in records:
            try:
                content = self._sink.decode(record)
            except Undecodable as exc:
                refused.append(undecodable(record, exc))
                self._alive()  # the registry was asked, perhaps; a batch of such records takes its time
                continue
            if content is not None:
                items.append(Item(record=record, content=content))
        return items, refused

    def _letter(self, refused: Refused) -> Outgoing:
        record, reason = refused.record, refused.reason
        metrics.REJECTED.labels(self._sink.name, reason.error_class.value).inc()
        place = f"{record.topic}:{record.partition}:{record.offset}"
        message = redacted(reason.message)
        logger().warning("record.refused", place=place, error_class=reason.error_class.value, message=message)
        return letter_of(refused, now_ms=int(self._clock() * 1000), group=self._group)

    def _commit(self, records: Sequence[Incoming]) -> None:
        behind: dict[tuple[str, int], int] = {}
        for record in records:
            behind[record.topic, record.partition] = record.offset + 1
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in behind.items()]
        try:
            # Not waited for: the call has no limit, and a broker that stands still would keep the loop in it for good.
            self._reading.client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            offsets_answered(exc.args[0], offsets)

    def _insist(self, step: Callable[[], None]) -> None:
        """Do ``step`` until it succeeds or a stop is requested, without leaving the consumer group."""
        for pause in _pauses():
            try:
                step()
                break
            except Transient as exc:
                self._wait(exc, pause)
            if self._stop.requested:
                return
        if self._waiting_for:
            logger().info("dependencies.answered")
            self._waiting_for = {}
            metrics.BREAKER_OPEN.labels(self._sink.name).set(0)
        if self._paused:
            self._reading.client.resume(self._reading.client.assignment())
            self._paused = False

    def _wait(self, reason: Transient, seconds: float) -> None:
        dependency = type(reason).__name__
        metrics.RETRIED.labels(self._sink.name, dependency).inc()
        if isinstance(reason, TooManyRejects):
            seconds = reason.pause_seconds
            metrics.BREAKER_OPEN.labels(self._sink.name).set(1)
            logger().error("rejects.too_many", problem=str(reason), held=len(self._held))
        else:
            seldom("dependency.unavailable", dependency=dependency, error=str(reason), held=len(self._held))
        self._waiting_for = {dependency: str(reason)}
        if not self._reading.connected:
            self._alive()
            self._reading.attention.excuse()
            self._stop.wait(seconds)
            return
        if not self._paused:
            self._reading.client.pause(self._reading.client.assignment())
            self._paused = True
        until = self._monotonic() + seconds
        while not self._stop.requested and self._monotonic() < until:
            self._alive()
            self._reading.attention.excuse()
            late = self._reading.poll(min(seconds, _POLL_SECONDS / 4))
            if late is not None and holds_record(late):  # was on its way when its partition was paused
                self._held.append(incoming(late))

    def _alive(self) -> None:
        self._heartbeat.beat()
        metrics.PROGRESS.labels(self._sink.name).set(self._clock())

    def _assigned(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        if not self._reading.is_current(client):
            return
        client.incremental_assign(partitions)
        # A pause outlives a revocation inside the client, so it is said anew either way.
        (client.pause if self._paused else client.resume)(partitions)
        self._owned |= {(one.topic, one.partition) for one in partitions}
        self._reading.attention.owns(self._owned)
        logger().info("partitions.assigned", count=len(partitions), owned=len(self._owned))

    def _revoked(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        if not self._reading.is_current(client):
            return
        gone = {(one.topic, one.partition) for one in partitions}
        self._owned -= gone
        self._reading.attention.owns(self._owned)
        # Not written yet, not committed: the next owner reads them.
        self._held = [record for record in self._held if (record.topic, record.partition) not in gone]
        logger().info("partitions.revoked", count=len(partitions), owned=len(self._owned))


def _pauses() -> Iterator[float]:
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        seconds = min(seconds * 2, _LONGEST_PAUSE_SECONDS)
