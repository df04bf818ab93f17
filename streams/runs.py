"""Runs: a fetched run of one partition's records is one Faust message. That is what makes Faust fast and safe here.

Fast, because Faust spends 150-250 microseconds on a message, and a run costs that once for hundreds of records. Safe,
because commits follow our own ledger. The price is that methods of faust-streaming which are not its public interface
are overridden: the version is pinned, :func:`check_faust` refuses to start with any other shape, and the churn test is
what has to pass before the pin is moved. Decision record: docs/decisions/0002-runs.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, cast

import faust
from aiokafka import (  # type: ignore[import-untyped]  # it ships no types
    AIOKafkaConsumer,
    ConsumerRecord,
)
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (  # type: ignore[import-untyped]  # as above
    StickyPartitionAssignor,
)
from aiokafka.errors import IllegalStateError  # type: ignore[import-untyped]  # as above
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP
from faust.types import Message as FaustMessage

from runtime.attention import Attention
from runtime.failures import Fatal
from schemas.records import Incoming
from streams import header_names
from streams.ledger import Ledger, Run

FAUST_VERSION: Final = "0.15.3"

# More than this is not fetched while it is unwritten: bounds memory, and what is read twice after a crash. About 6 000
# events of the usual size, enough for the next run to be there when one is written.
_BYTES_IN_FLIGHT: Final = 8 * 1024 * 1024
# A run that is not committed by then is stuck: writing waits at most 35 s for Kafka, and waiting for the registry is
# known to be.
_OVERDUE_SECONDS: Final = 60.0
_OPTIONS: Final = {
    # A partition whose records were being consumed when a fetch was sent waits for that fetch to return. Faust's 1.5 s
    # would be its latency; a tenth of a second costs ten empty fetches a second on an idle worker.
    "_fetch_max_wait_ms": 100,
    # Round robin moves nearly all partitions when a worker comes or goes, and each one's state has to be read anew.
    "_partition_assignment_strategy": [StickyPartitionAssignor],
    # Replays write in transactions; what one that was killed left half done never happened.
    "_isolation_level": "read_committed",
}

_OVERRIDDEN: Final[tuple[tuple[type, str, tuple[str, ...]], ...]] = (
    (Consumer, "_getmany", ("self", "active_partitions", "timeout")),
    (Consumer, "_to_message", ("self", "tp", "record")),
    (Consumer, "_new_consumer_thread", ("self",)),
    (FaustConsumer, "_add_gap", ("self", "tp", "offset_from", "offset_to")),
    (FaustConsumer, "_new_offset", ("self", "tp")),
    (FaustConsumer, "_commit", ("self", "offsets")),
    (FaustConsumer, "_filter_tps_with_pending_acks", ("self", "topics")),
    (FaustConsumer, "ack", ("self", "message")),
    (FaustConsumer, "on_partitions_revoked", ("self", "revoked")),
    (FaustConsumer, "on_partitions_assigned", ("self", "assigned", "generation_id")),
    (AIOKafkaConsumerThread, "_create_worker_consumer", ("self", "transport")),
    (AIOKafkaConsumerThread, "seek_to_committed", ("self",)),
    (AIOKafkaConsumer, "seek_to_beginning", ("self", "partitions")),
    (faust.Schema, "loads_key", ("self", "app", "message", "loads", "serializer")),
    (faust.Schema, "loads_value", ("self", "app", "message", "loads", "serializer")),
    *header_names.OVERRIDDEN,
)


class FaustChanged(Fatal):
    """What goalpost overrides in Faust is not what it was made for, so nothing is known about what would be lost."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}, but streams/runs.py was made for faust-streaming {FAUST_VERSION}. Install that version "
            "(pip install -r requirements/run.txt). To move the pin, compare what is overridden and run the churn test."
        )


def check_faust(
    installed: str | None = None, overridden: Iterable[tuple[type, str, tuple[str, ...]]] = _OVERRIDDEN
) -> None:
    """Compare Faust with what the overrides were made for.

    Raises:
        FaustChanged: another version, or an overridden method is missing or takes other arguments.
    """
    found = installed or version("faust-streaming")
    if found != FAUST_VERSION:
        raise FaustChanged(f"faust-streaming {found} is installed")
    for owner, name, expected in overridden:
        method = getattr(owner, name, None)
        if method is None:
            raise FaustChanged(f"Faust's {owner.__name__}.{name} is gone")
        arguments = tuple(inspect.signature(method).parameters)
        if arguments[: len(expected)] != expected:
            raise FaustChanged(f"Faust's {owner.__name__}.{name} takes {', '.join(arguments)}")


class _NoRebalance(logging.Filter):
    """Passes everything but the news of a rebalance, which members hear of by the refusal of a heartbeat."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "because it is rebalancing" not in str(record.msg)


def hush_rebalances() -> None:
    """Keep aiokafka from warning "Heartbeat failed" then: nothing failed, and ``state.assigned`` tells the rest."""
    logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(_NoRebalance())


class _Fetched:
    """A run in the shape of one aiokafka record, which is all that Faust looks at."""

    def __init__(self, tp: TP, run: Run) -> None:
        self.topic, self.partition, self.offset = tp.topic, tp.partition, run.last_offset
        self.timestamp, self.timestamp_type = run.records[-1].timestamp, 0
        self.key = self.headers = self.checksum = None
        self.value = run
        self.serialized_key_size = self.serialized_value_size = 0


class _RunConsumerThread(AIOKafkaConsumerThread):
    """The thread in which aiokafka fetches, with options that Faust does not pass on."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        for option, value in _OPTIONS.items():
            if not hasattr(consumer, option):
                raise FaustChanged(f"aiokafka keeps {option} elsewhere")
            setattr(consumer, option, value)
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every assigned partition to where reading has to go on; one without a commit to its beginning.

        aiokafka leaves those where they are: behind what was fetched before the rebalance and is thrown away now.
        """
        committed: Mapping[TP, int] = await super().seek_to_committed()
        unread = [tp for tp, offset in committed.items() if not offset]
        if unread:  # without arguments it would seek all
            with contextlib.suppress(IllegalStateError):  # taken away meanwhile: its next owner seeks
                await self.call_thread(self._ensure_consumer().seek_to_beginning, *unread)
        return committed


class RunConsumer(Consumer):
    """Faust's consumer with runs as messages.

    ``alive`` is called as long as fetching goes on and committed offsets follow it; ``attention`` is told where it is.

    Only partitions in ``ready()`` are fetched. A run must not be handed out and then wait for its state: Faust ends a
    rebalance only when everything it handed out is acknowledged, so that would stop all workers.
    """

    def __init__(
        self,
        *args: Any,
        ready: Callable[[], frozenset[int]],
        alive: Callable[[], None],
        attention: Attention,
        **kwargs: Any,
    ) -> None:
        self._ready = ready
        self._alive = alive
        self._attention = attention
        self._ledgers: defaultdict[TP, Ledger] = defaultdict(Ledger)
        self._moved = asyncio.Event()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _RunConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def nudge(self) -> None:
        """Look again at which partitions are ready. To be called in the event loop."""
        self._moved.set()

    def member_id(self) -> str | None:
        """Under which name Kafka knows this worker in its group; ``None`` before it has one."""
        coordinator = getattr(self._worker_consumer(), "_coordinator", None)
        return None if coordinator is None else str(coordinator.member_id) or None

    def _worker_consumer(self) -> AIOKafkaConsumer | None:
        """aiokafka's consumer, which belongs to a thread of the driver; it is only looked at."""
        return getattr(self._thread, "_consumer", None)

    def unfinished(self) -> list[Run]:
        """The fetched runs that are not done."""
        return [run for ledger in self._ledgers.values() for run in ledger.unfinished()]

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - the signature is Faust's
    ) -> Mapping[TP, list[_Fetched]]:
        ready = self._ready()
        wanted = {tp for tp in active_partitions or () if tp.partition in ready}
        now = time.monotonic()
        if wanted and self._commits_follow(now):
            self._alive()
        full = sum(run.bytes_held for run in self.unfinished()) >= _BYTES_IN_FLIGHT
        self._report(wanted, resting=full)
        if not wanted or full:
            await self._changed_within(timeout)
            return {}
        fetched = await super()._getmany(wanted, timeout) or {}
        runs = {tp: Run(_incoming(records), now) for tp, records in fetched.items() if records}
        for tp, run in runs.items():
            self._ledgers[tp].fetched(run)
        return {tp: [_Fetched(tp, run)] for tp, run in runs.items()}

    def _report(self, wanted: set[TP], *, resting: bool) -> None:
        """Say where fetching stands: the positions of aiokafka also know the offsets that hold no record."""
        consumer = self._worker_consumer()
        subscription = None if consumer is None else consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        unread = () if assignment is None else assignment.tps - wanted
        self._attention.rest((tp.topic, tp.partition) for tp in unread)
        if resting:
            self._attention.excuse()
        else:
            self._attention.emptied()
        if assignment is None:
            return
        for tp in wanted:
            state = assignment.state_value(tp)
            if state is not None and state.has_valid_position:
                self._attention.stands((tp.topic, tp.partition), state.position)

    def _commits_follow(self, now: float) -> bool:
        uncommitted = [run for ledger in self._ledgers.values() for run in ledger.uncommitted()]
        return all(now - run.fetched_at < _OVERDUE_SECONDS for run in uncommitted)

    async def _changed_within(self, seconds: float) -> None:
        self._moved.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), seconds)

    def ack(self, message: FaustMessage) -> bool:
        acknowledged = super().ack(message)
        self._moved.set()
        return acknowledged

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Between two runs there is no gap: the offsets inside a run are its records, not compacted ones."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return iter(list(self._ledgers))

    def _new_offset(self, tp: TP) -> int | None:
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        return self._ledgers[tp].committable()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        done = await super()._commit(offsets)
        if done:
            for tp, offset in offsets.items():
                self._ledgers[tp].committed(offset)
        return done

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        # Faust forgets what is acknowledged and commits then: without this, each rebalance repeats seconds of work.
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        # Whatever was fetched before is fetched again from the committed offset, here or by another worker.
        self._ledgers.clear()
        await super().on_partitions_assigned(assigned, generation_id)


def _incoming(records: list[ConsumerRecord]) -> Sequence[Incoming]:
    """aiokafka's records have all that ours have, under the same names; copies would be a twentieth of the work."""
    return cast("list[Incoming]", records)


class RunSchema(faust.Schema[Any, Any]):
    """Hands a run through as it is: what cannot be decoded must become a dead letter, not an exception inside Faust."""

    def loads_key(self, app: Any, message: FaustMessage, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: FaustMessage, **_: Any) -> Any:
        return message.value
