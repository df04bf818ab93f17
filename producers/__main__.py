"""Composition root of the webhook service: ``goalpost webhook`` or ``python -m producers``."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import stamina
import uvicorn

from producers.door import Door, Endpoints
from producers.follower import DirectoryFollower
from producers.hooks import Hooks
from producers.meter import Meter
from producers.pages import pages
from producers.publisher import KafkaPublisher
from producers.sessions import SessionIntake
from runtime import kafka
from runtime.failures import Fatal
from runtime.lifecycle import Heartbeat, Stop
from runtime.logs import configure, logger
from runtime.registry import Registry, RegistryUnavailable
from runtime.sections import KafkaSettings, LogSettings, VaultSettings, WebhookSettings
from runtime.settings import BadSettings, load
from runtime.vault import Vault
from schemas.codec import Codec
from schemas.contracts import RAW_EVENTS, WEB_SESSIONS, WEBHOOK_CONFIGURATIONS
from schemas.events import RawEvent, Session, Webhook

# Longer than the idle time of the usual proxies (60 s): whoever closes first, it must not be us, or they answer 502.
_KEEP_ALIVE_SECONDS: Final = 75
_BACKLOG: Final = 2048
_CLIENT: Final = "goalpost-webhook"
# What waits for Kafka in memory: seconds of full speed. Beyond it senders get 503, which most of them repeat.
_QUEUE_KBYTES: Final = 128 * 1024
_OBJECTS_PER_COLLECTION: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codecs:
    raw_events: Codec[RawEvent]
    sessions: Codec[Session]
    webhooks: Codec[Webhook]


def main() -> None:
    """Serve until SIGTERM, then finish what is in flight and return.

    Raises:
        SystemExit: 2 where the settings are not usable, 1 where the service cannot go on.
    """
    try:
        settings = load(KafkaSettings, WebhookSettings, VaultSettings, LogSettings)
    except BadSettings as exc:
        sys.stderr.write(f"{exc}\n")
        raise SystemExit(2) from exc
    logs: LogSettings = settings[3]
    configure("webhook", level=logs.level, json_lines=logs.json_lines)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings quote bytes of the body
    Stop().listen()  # uvicorn takes the signals over and gives each back at its end, when it has to hurt no more
    try:
        service = _Service(*settings)
        with asyncio.Runner(loop_factory=service.config.get_loop_factory()) as runner:
            runner.run(service.serve())
    except Fatal as exc:
        logger().error("webhook.failed", error=str(exc))
        raise SystemExit(1) from exc


class _Service:
    """The parts of the process, and what is still in their way."""

    def __init__(
        self, kafka_at: KafkaSettings, webhook: WebhookSettings, vault: VaultSettings, logs: LogSettings
    ) -> None:
        self._kafka = kafka_at
        self._settings = webhook
        self._vault = Vault(vault.secret_key.get_secret_value())
        # Half of the time to drain is for requests in flight, half for what they have put into the queue to Kafka.
        self._drain_seconds = logs.drain_seconds / 2
        self._heartbeat = Heartbeat()
        self._meter = Meter()
        self._directory: DirectoryFollower | None = None
        self._failure: BaseException | None = None
        self._door = Door(
            pages(heartbeat=self._heartbeat, obstacles=self._obstacles),
            meter=self._meter,
            allowed_origins=webhook.allowed_origins,
        )
        self.config = uvicorn.Config(
            self._door,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(self._drain_seconds)),
        )
        self._server = uvicorn.Server(self.config)

    async def serve(self) -> None:
        """Listen at once, open the door when Kafka and the registry are there, and end in order.

        Raises:
            Fatal: the address is taken, or something failed that waiting does not mend.
        """
        listener = self._listen()
        client = kafka.producer(
            self._kafka.bootstrap_servers,
            client_id=_CLIENT,
            linger_ms=self._settings.linger_ms,
            # What was answered 503 should not be stored long after: the sender repeats it, perhaps under a new id.
            delivery_seconds=2 * self._settings.acknowledge_timeout_seconds,
            queue_kbytes=_QUEUE_KBYTES,
        )
        self._publisher = KafkaPublisher(
            client, timeout_seconds=self._settings.acknowledge_timeout_seconds, heartbeat=self._heartbeat
        )
        opening = asyncio.create_task(self._open())
        opening.add_done_callback(self._opened)
        reporting = asyncio.create_task(self._meter.keep_reporting())
        logger().info("webhook.started", host=self._settings.host, port=listener.getsockname()[1])
        await self._server.serve(sockets=[listener])
        for task in (opening, reporting):
            task.cancel()
        self._meter.report()
        if self._directory is not None:
            await asyncio.to_thread(self._directory.stop)
        unsent = await self._publisher.close(self._drain_seconds)
        logger().info("webhook.stopped", records_unsent=unsent)
        if self._failure is not None:
            raise self._failure

    def _listen(self) -> socket.socket:
        address = (self._settings.host, self._settings.port)
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        try:
            return socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as exc:
            raise Fatal(
                f"cannot listen on {address[0]} port {address[1]} ({os.strerror(exc.errno or 0)}). "
                "Set GOALPOST_WEBHOOK_HOST and GOALPOST_WEBHOOK_PORT to a free address of this machine."
            ) from exc

    async def _open(self) -> None:
        codecs = await self._codecs()
        loop = asyncio.get_running_loop()

        def failed(failure: Exception) -> None:
            loop.call_soon_threadsafe(self._fail, failure)

        directory = DirectoryFollower(
            lambda: kafka.consumer(self._kafka.bootstrap_servers, group=f"{_CLIENT}-directory", client_id=_CLIENT),
            codecs.webhooks,
            self._vault,
            on_failure=failed,
        )
        directory.start()
        self._directory = directory
        hooks = Hooks(
            index=lambda: directory.index,
            publisher=self._publisher,
            codec=codecs.raw_events,
            clock_ms=_now_ms,
            max_body_bytes=self._settings.max_body_bytes,
        )
        intake = SessionIntake(
            write_key=self._settings.sessions_write_key.get_secret_value(),
            publisher=self._publisher,
            codec=codecs.sessions,
            clock_ms=_now_ms,
            max_body_bytes=self._settings.max_body_bytes,
        )
        self._door.open(
            Endpoints(drop_in=hooks.drop_in, named=hooks.named, beacon=intake.beacon, supabase=intake.supabase)
        )
        _spare_the_collector()

    async def _codecs(self) -> _Codecs:
        """Ask the registry for the ids of our schemas, until it answers."""
        registry = Registry(self._kafka.schema_registry_url)
        async for attempt in stamina.retry_context(on=RegistryUnavailable, attempts=None, timeout=None, wait_max=5.0):
            with attempt:
                return await asyncio.to_thread(
                    lambda: _Codecs(
                        raw_events=registry.codec(RAW_EVENTS),
                        sessions=registry.codec(WEB_SESSIONS),
                        webhooks=registry.codec(WEBHOOK_CONFIGURATIONS),
                    )
                )
        raise AssertionError("the loop above ends only by its return")

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if not opening.cancelled() and (failure := opening.exception()) is not None:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure
        self._server.should_exit = True

    async def _obstacles(self) -> Mapping[str, str]:
        obstacles: dict[str, str] = {}
        if self._directory is None:
            obstacles["schema registry"] = "the ids of the schemas are not known yet"
        elif not self._directory.index.complete:
            obstacles["webhooks"] = "their topic is not read to its end yet"
        if (kafka_obstacle := await self._publisher.obstacle()) is not None:
            obstacles["kafka"] = kafka_obstacle
        return obstacles


def _spare_the_collector() -> None:
    """Take what lives for ever out of garbage collection, and collect rarely.

    Requests leave no cycles behind, but with the defaults each 700 new objects had the collector look through the
    service's own: a fifth of the CPU time per request, as measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, 50, 50)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
