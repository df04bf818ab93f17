"""The webhook service put together: listens at once, opens the door when its parts are there, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

import uvicorn
from confluent_kafka import Consumer, Producer

from producers.admission import Admission
from producers.codecs import codecs_of
from producers.condition import Condition
from producers.connections import bounded, keep_closing
from producers.dialects.sizes import Sizes
from producers.door import Door, Endpoints
from producers.follower import DirectoryFollower
from producers.hooks import Hooks
from producers.meter import Meter
from producers.pages import pages
from producers.publisher import KafkaPublisher
from producers.quarantine import Quarantine
from producers.sessions import SessionIntake, SessionLimits
from producers.spool import Spool
from producers.spool_publisher import SpoolPublisher
from producers.spool_writer import SpoolWriter
from producers.worker import Worker
from runtime import kafka, lifecycle
from runtime.attention import Attention
from runtime.failures import Fatal
from runtime.last_known import LastKnown
from runtime.lifecycle import HealthServer, Heartbeat
from runtime.logs import logger
from runtime.lookout import Lookout
from runtime.sections import HealthSettings, KafkaSettings, LogSettings, TimeSettings, VaultSettings, WebhookSettings
from runtime.vault import Vault
from schemas.events import EpochMillis
from schemas.topics import RAW, WEBHOOKS

# Longer than the idle time of the usual proxies (60 s): whoever closes first, it must not be us, or they answer 502.
_KEEP_ALIVE_SECONDS: Final = 75
_BACKLOG: Final = 2048
_CLIENT: Final = "goalpost-webhook"
# What waits for Kafka in memory: seconds of full speed. Beyond it events go to the spool.
_QUEUE_KBYTES: Final = 128 * 1024
# What is late for Kafka is on the spool as well, so its client may try for as long as it likes: a record that it gives
# up after having sent it is doubled when the spool sends it again.
_DELIVERY_SECONDS: Final = 24 * 60 * 60
_OBJECTS_PER_COLLECTION: Final = 20_000


class Service:
    """The parts of the process, and what is still in their way."""

    def __init__(
        self,
        kafka_at: KafkaSettings,
        webhook: WebhookSettings,
        vault: VaultSettings,
        logs: LogSettings,
        health: HealthSettings,
        times: TimeSettings,
    ) -> None:
        self._kafka = kafka_at
        self._health = health
        self._settings = webhook
        self._zone = times.timezone
        self._vault = Vault(vault.secret_key.get_secret_value())
        # Half of the time to drain is for requests in flight, half for what they have put into the queue to Kafka.
        self._drain_seconds = logs.drain_seconds / 2
        self._heartbeat = Heartbeat()
        self._meter = Meter()
        self._directory: DirectoryFollower | None = None
        self._registry_problem = "the ids of the schemas are not known yet"
        self._failure: BaseException | None = None
        self._condition: Condition | None = None
        self._lookout = Lookout.over(kafka_at.bootstrap_servers, RAW.name, compacted=WEBHOOKS.name)
        self._attention = Attention(self._lookout.sighting)
        self._door = Door(
            pages(healthz=self._healthz),
            meter=self._meter,
            allowed_origins=webhook.allowed_origins,
            max_in_flight=webhook.max_in_flight,
        )
        self.config = uvicorn.Config(
            self._door,
            http=bounded(webhook.max_connections),
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
            Fatal: the address or the spool is taken, or something failed that waiting does not mend.
        """
        listener = self._listen()
        health = self._health_server()
        self._spool = SpoolWriter(Spool(self._spool_folder), max_bytes=self._settings.spool_max_bytes, clock_ms=_now_ms)
        self._client = KafkaPublisher(
            self._producer,
            heartbeat=self._heartbeat,
            waiting=lambda: self._spool.records > 0,
            answering_seconds=self._lookout.answering_seconds,
        )
        self._publisher = SpoolPublisher(
            self._client,
            self._spool,
            timeout_seconds=self._settings.acknowledge_timeout_seconds,
            on_failure=self._fail,
        )
        self._condition = Condition(
            registry=lambda: self._registry_problem,
            index=lambda: None if self._directory is None else self._directory.index,
            spool=self._spool,
            requests=self._client,
            webhooks=self._attention,
            kafka=self._lookout.obstacles,
            stalled_seconds=self._health.stalled_seconds,
        )
        self._lookout.start()
        opening = asyncio.create_task(self._open())
        opening.add_done_callback(self._opened)
        reporting = asyncio.create_task(self._meter.keep_reporting())
        closing = asyncio.create_task(
            keep_closing(self._server.server_state.connections, timeout_seconds=self._settings.request_timeout_seconds)
        )
        logger().info("webhook.started", host=self._settings.host, port=listener.getsockname()[1])
        health.start()
        await self._server.serve(sockets=[listener])
        for task in (opening, reporting, closing):
            task.cancel()
        self._meter.report()
        if self._directory is not None:
            await asyncio.to_thread(self._directory.stop)
        spooled = await self._publisher.close(self._drain_seconds)
        logger().info("webhook.stopped", records_in_spool=spooled)
        if self._failure is not None:
            raise self._failure

    def _producer(self) -> Producer:
        without_spool = self._settings.spool_max_bytes == 0
        return kafka.producer(
            self._kafka.bootstrap_servers,
            client_id=_CLIENT,
            linger_ms=self._settings.linger_ms,
            # What was answered 503 should not be stored long after: the sender repeats it, perhaps under a new id.
            delivery_seconds=2 * self._settings.acknowledge_timeout_seconds if without_spool else _DELIVERY_SECONDS,
            queue_kbytes=_QUEUE_KBYTES,
        )

    def _directory_client(self) -> Consumer:
        # The group is only a name that the client library asks for: nothing joins it.
        servers, name = self._kafka.bootstrap_servers, f"{_CLIENT}-directory"
        return kafka.consumer(servers, group=name, client_id=_CLIENT, says_ends=True)

    def _standstill(self) -> str | None:
        return None if self._condition is None else self._condition.standstill()

    def _healthz(self) -> tuple[HTTPStatus, str, bytes]:
        return lifecycle.health(self._heartbeat, self._standstill())

    def _health_server(self) -> HealthServer:
        return HealthServer(
            self._health.port_or(self._settings.health_port),
            host=self._health.host,
            heartbeat=self._heartbeat,
            readiness=lambda: {} if self._condition is None else self._condition.obstacles(),
            notes=lambda: {} if self._condition is None else self._condition.notes(),
            standstill=self._standstill,
        )

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

    @property
    def _spool_folder(self) -> Path:
        """By port: processes of one machine differ in it, and each finds its own spool again when it is restarted."""
        return self._settings.spool_dir / str(self._settings.port)

    async def _open(self) -> None:
        last_known = LastKnown(self._spool_folder)
        codecs = await codecs_of(self._kafka.schema_registry_url, last_known, on_problem=self._registry_silent)
        loop = asyncio.get_running_loop()

        def failed(failure: Exception) -> None:
            loop.call_soon_threadsafe(self._fail, failure)

        directory = DirectoryFollower(
            self._directory_client,
            codecs.webhooks,
            self._vault,
            log=self._lookout.log,
            attention=self._attention,
            last_known=last_known,
            on_failure=failed,
        )
        directory.start()
        self._directory = directory
        admission = Admission(
            max_in_flight=self._settings.max_in_flight, per_second=self._settings.max_requests_per_second
        )
        sizes = _sizes(self._settings)
        # Of their own, so that nothing that a site sends keeps a CRM waiting for a thread.
        for_hooks, for_sessions = Worker(), Worker()
        hooks = Hooks(
            index=lambda: directory.index,
            publisher=self._publisher,
            codec=codecs.raw_events,
            clock_ms=_now_ms,
            max_body_bytes=self._settings.max_body_bytes,
            sizes=sizes,
            worker=for_hooks,
            admission=admission,
            quarantine=Quarantine(self._publisher.offer, time.monotonic),
            zone=self._zone,
        )
        intake = SessionIntake(
            write_key=self._settings.sessions_write_key.get_secret_value(),
            publisher=self._publisher,
            codec=codecs.sessions,
            clock_ms=_now_ms,
            admission=admission,
            worker=for_sessions,
            limits=SessionLimits(
                body_bytes=self._settings.max_body_bytes,
                row_bytes=self._settings.max_row_bytes,
                per_second=self._settings.max_sessions_per_second,
                per_client_and_second=self._settings.max_sessions_per_client_and_second,
                trusted_proxies=self._settings.trusted_proxies,
                sizes=sizes,
            ),
            allowed_origins=frozenset(self._settings.allowed_origins),
        )
        self._door.open(
            Endpoints(drop_in=hooks.drop_in, named=hooks.named, beacon=intake.beacon, supabase=intake.supabase)
        )
        _spare_the_collector()

    def _registry_silent(self, problem: str) -> None:
        self._registry_problem = problem

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if not opening.cancelled() and (failure := opening.exception()) is not None:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure
        self._server.should_exit = True


def _sizes(settings: WebhookSettings) -> Sizes:
    return Sizes(
        parameters=settings.max_parameters,
        fields=settings.max_fields,
        parts=settings.max_parts,
        levels=settings.max_levels,
        conversions=settings.max_conversions,
        sessions=settings.max_sessions,
    )


def _spare_the_collector() -> None:
    """Take what lives for ever out of garbage collection, and collect rarely.

    Requests leave no cycles behind, but with the defaults each 700 new objects had the collector look through the
    service's own: a fifth of the CPU time per request, as measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, 50, 50)


def _now_ms() -> EpochMillis:
    return time.time_ns() // 1_000_000
