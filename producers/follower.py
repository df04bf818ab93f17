"""Keeps the index of webhooks equal to the compacted topic ``goalpost.webhooks``, on a thread of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaException

from producers import directory, signature
from producers.directory import Entry, Index, index_of
from runtime.attention import Attention, Log
from runtime.compacted import CompactedTopic, NotSeen
from runtime.failures import Fatal, Transient
from runtime.last_known import LastKnown
from runtime.logs import logger, seldom
from runtime.metrics import REJECTED
from runtime.vault import Vault
from schemas.codec import Codec, Undecodable
from schemas.dead_letter import ErrorClass
from schemas.events import Webhook
from schemas.records import Incoming
from schemas.topics import WEBHOOKS

READER: Final = "webhooks"

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 2.0
# How long a start waits for Kafka before it opens the door with what the last process knew.
_PATIENCE_PAUSES: Final = 2


class DirectoryFollower:
    """Reads every webhook there is, then each change. ``index`` is always a whole one; requests take it as it is.

    It is complete once the topic is read to its end. A topic that has lost records, or is another one of the same
    name, takes nothing away: what was known stays in force, and the index is not complete before all of it has been
    written anew.

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
        log: Callable[[], Log | None],
        attention: Attention,
        last_known: LastKnown | None = None,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """``log`` says what Kafka has of the topic, ``connect`` makes a consumer that says when it is at an end."""
        self._codec = codec
        self._vault = vault
        self._last_known = last_known
        self._on_failure = on_failure
        self._entries: dict[bytes, Entry] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook-directory", daemon=True)
        self._pauses = 0
        self._certain: bool | None = None
        self.index: Index = directory.EMPTY
        if last_known is not None:
            recalled = [entry for value in last_known.webhooks() if (entry := self._recalled(value)) is not None]
            self._entries = {entry.webhook.webhook_id.encode(): entry for entry in recalled}
        self._topic = CompactedTopic(
            WEBHOOKS,
            connect,
            log,
            attention=attention,
            name=READER,
            known=self._entries,
            trusted=None if last_known is None else last_known.log(),
        )

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. It is not waited for long: it holds nothing, and may be calling a broker that is gone."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._follow()
        except Exception as exc:  # noqa: BLE001 - the thread's only boundary: whatever ends it must end the process
            self._on_failure(exc)
        finally:
            self._topic.close()

    def _follow(self) -> None:
        try:
            records, gone = self._topic.read(_BATCH, _POLL_SECONDS)
        except (NotSeen, KafkaException) as exc:
            seldom("directory.waited", dependency="kafka", error=str(exc))
            self._pauses += 1
            if self._pauses >= _PATIENCE_PAUSES:
                self._recall()
            self._stop.wait(_PAUSE_SECONDS)
            return
        for record in records:
            self._apply(record)
        for key in gone:
            self._entries.pop(key, None)
        standing = self._topic.standing
        if standing.whole and (records or gone or standing.certain is not self._certain):
            self._know(complete=standing.certain)

    def _recall(self) -> None:
        """Know at least what the last process knew; Kafka's word replaces it as a whole."""
        if self.index is directory.EMPTY and self._entries:
            self.index = index_of(self._entries.values(), complete=False)
            logger().warning("directory.recalled", webhooks=len(self._entries))

    def _recalled(self, value: bytes) -> Entry | None:
        try:
            return self._entry(self._codec.decode(value))
        except (Undecodable, Transient, ValueError):  # written by another version, whose schema cannot be asked for
            return None

    def _know(self, *, complete: bool) -> None:
        if not self.index.complete:
            logger().info("directory.read", webhooks=len(self._entries), complete=complete)
        self._certain = complete
        self.index = index_of(self._entries.values(), complete=complete)
        if self._last_known is not None:
            webhooks = [self._codec.encode(entry.webhook) for entry in self._entries.values()]
            self._last_known.remember_webhooks(webhooks, self._topic.standing.trusted)

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
                seldom("directory.waited", dependency="schema registry", error=str(exc))
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
