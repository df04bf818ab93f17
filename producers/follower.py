"""Keeps the index of webhooks equal to the compacted topic ``goalpost.webhooks``, on a thread of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from producers import directory, signature
from producers.directory import Entry, Index, index_of
from producers.last_known import LastKnown
from runtime.failures import Fatal, Transient
from runtime.kafka import end_offsets, incoming, partitions_of
from runtime.logs import logger
from runtime.metrics import REJECTED
from runtime.vault import Vault
from schemas.codec import Codec, Undecodable
from schemas.dead_letter import ErrorClass
from schemas.events import Webhook
from schemas.records import Incoming
from schemas.topics import WEBHOOKS

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 2.0
# How long a start waits for Kafka before it opens the door with what the last process knew.
_ANSWER_SECONDS: Final = 2.0

# Two seconds without a record: far longer than a fetch takes, however many offsets it has to skip.
_IDLE_POLLS: Final = 8


class DirectoryFollower:
    """Reads every webhook there is, then each change. ``index`` is always a whole one; requests take it as it is.

    A record that does not decode is logged and counted, not dead-lettered: every process that starts reads the whole
    topic again, so a letter would be written each time. The webhook's older record, if any, stays in force.

    ``on_failure`` is called from the thread with what ended it: without news a revoked secret would stay valid.
    """

    def __init__(
        self,
        connect: Callable[[], Consumer],
        codec: Codec[Webhook],
        vault: Vault,
        *,
        last_known: LastKnown | None = None,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._connect = connect
        self._codec = codec
        self._vault = vault
        self._last_known = last_known
        self._on_failure = on_failure
        self._entries: dict[bytes, Entry] = {}
        self._ends: dict[int, int] = {}
        self._idle_polls = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook-directory", daemon=True)
        self.index: Index = directory.EMPTY

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. It is not waited for long: it holds nothing, and may be calling a broker that is gone."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        client = self._connect()
        try:
            self._assign(client)
            while not self._stop.is_set():
                self._follow(client)
        except Exception as exc:  # noqa: BLE001 - the thread's only boundary: whatever ends it must end the process
            self._on_failure(exc)
        finally:
            client.close()

    def _assign(self, client: Consumer) -> None:
        """Start at the beginning of the topic, as soon as Kafka answers."""
        while not self._stop.is_set():
            try:
                client.list_topics(WEBHOOKS.name, timeout=_ANSWER_SECONDS)
                partitions = partitions_of(client, WEBHOOKS.name)
                self._ends = end_offsets(client, WEBHOOKS.name, partitions)
            except KafkaException as exc:
                logger().warning("directory.waited", dependency="kafka", error=exc.args[0].name())
                self._recall()
                self._stop.wait(_PAUSE_SECONDS)
                continue
            client.assign([TopicPartition(WEBHOOKS.name, partition, OFFSET_BEGINNING) for partition in partitions])
            return

    def _recall(self) -> None:
        """Know at least what the last process knew; Kafka's word replaces it as a whole."""
        if self.index is directory.EMPTY and self._last_known is not None:
            recalled = [entry for value in self._last_known.webhooks() if (entry := self._recalled(value)) is not None]
            if recalled:
                self.index = index_of(recalled, complete=False)
                logger().warning("directory.recalled", webhooks=len(recalled))

    def _recalled(self, value: bytes) -> Entry | None:
        try:
            return self._entry(self._codec.decode(value))
        except (Undecodable, Transient, ValueError):  # written by another version, whose schema cannot be asked for
            return None

    def _know(self) -> None:
        self.index = index_of(self._entries.values())
        if self._last_known is not None:
            self._last_known.remember_webhooks(self._codec.encode(entry.webhook) for entry in self._entries.values())

    def _follow(self, client: Consumer) -> None:
        messages = client.consume(_BATCH, _POLL_SECONDS)
        for message in messages:
            error = message.error()
            if error is None:
                self._apply(incoming(message))
            else:
                logger().warning("directory.waited", dependency="kafka", error=error.name())
        self._idle_polls = 0 if messages else self._idle_polls + 1
        if self.index.complete:
            if messages:
                self._know()
        elif self._at_end(client):
            logger().info("directory.read", webhooks=len(self._entries))
            self._know()

    def _at_end(self, client: Consumer) -> bool:
        """Whether everything was read that stood in the topic at the start.

        The last offsets may be gaps that compaction left. Then nothing comes, although the broker answers.
        """
        positions = {part.partition: part.offset for part in client.position(client.assignment())}
        if all(positions.get(partition, -1) >= end or end == 0 for partition, end in self._ends.items()):
            return True
        return self._idle_polls >= _IDLE_POLLS and self._answers(client)

    def _answers(self, client: Consumer) -> bool:
        try:
            end_offsets(client, WEBHOOKS.name, list(self._ends))
        except KafkaException:
            return False
        return True

    def _apply(self, record: Incoming) -> None:
        key = record.key or b""
        if record.value is None:
            self._entries.pop(key, None)
            return
        try:
            self._entries[key] = self._entry(self._decoded(record))
        except (Undecodable, ValueError) as exc:
            REJECTED.labels("webhook", ErrorClass.UNDECODABLE.value).inc()
            logger().error("directory.record_skipped", partition=record.partition, offset=record.offset, error=str(exc))

    def _decoded(self, record: Incoming) -> Webhook:
        """Decode, waiting for the registry where it has to be asked and does not answer."""
        while True:
            try:
                return self._codec.decode(record.value)
            except Transient as exc:
                logger().warning("directory.waited", dependency="schema registry", error=str(exc))
                if self._stop.wait(_PAUSE_SECONDS):
                    raise

    def _entry(self, webhook: Webhook) -> Entry:
        uuid.UUID(webhook.webhook_id)  # event ids are derived from it
        keys = [key for sealed in webhook.sealed_secrets for key in self._keys(webhook, sealed)]
        return Entry(webhook=webhook, signing_keys=tuple(keys))

    def _keys(self, webhook: Webhook, sealed: str) -> tuple[bytes, ...]:
        """Return what can be signed with; a secret of a lost key costs one webhook its signatures, not the service."""
        try:
            return signature.keys_of(self._vault.open(sealed))
        except Fatal as exc:
            logger().error("directory.secret_unreadable", webhook_id=webhook.webhook_id, error=str(exc))
            return ()
