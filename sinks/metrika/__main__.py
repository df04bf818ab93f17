"""The process ``goalpost sink metrika``: stored conversions to Yandex Metrika, and what became of them to Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from psycopg import Connection
from uuid_utils.compat import uuid7

from runtime import kafka, logs
from runtime.lifecycle import HealthServer, Heartbeat, Stop
from runtime.postgres import Answers, check_address
from runtime.registry import Registry
from runtime.sections import (
    DatabaseSettings,
    HealthSettings,
    KafkaSettings,
    LogSettings,
    MetrikaSettings,
    VaultSettings,
)
from runtime.settings import load
from runtime.vault import Vault
from schemas.contracts import CONVERSION_OUTCOMES, RESOLVED_CONVERSIONS
from sinks.metrika.access import Access, Quotas
from sinks.metrika.client import Metrika, OAuth
from sinks.metrika.connection import connect, pool
from sinks.metrika.originals import Originals
from sinks.metrika.publisher import Broker, Publisher
from sinks.metrika.renewal import Renewal
from sinks.metrika.sink import ROUNDS, Sink
from sinks.metrika.work import Pace, Tools

CLIENT_ID: Final = "goalpost-metrika-sink"


def main() -> None:
    """Upload stored conversions until SIGTERM."""
    kafka_settings, database, secrets, log, metrika, health = load(
        KafkaSettings, DatabaseSettings, VaultSettings, LogSettings, MetrikaSettings, HealthSettings
    )
    logs.configure("sink-metrika", level=log.level, json_lines=log.json_lines)
    stop, heartbeat = Stop(), Heartbeat()
    stop.listen()
    vault = Vault(secrets.secret_key.get_secret_value())
    url = database.database_url.get_secret_value()
    check_address(url)
    connection = partial(connect, url, application_name=CLIENT_ID)
    answers = Answers.until(stop, drain_seconds=log.drain_seconds)
    with pool(url, application_name=CLIENT_ID, size=ROUNDS) as connections:
        sink = Sink(
            connect=partial(connection, answers=answers),
            pool=connections,
            tools=_tools(metrika, vault, stop, connection),
            publisher=Publisher(connect=connection, broker=_broker(kafka_settings), now_ms=_now_ms),
            heartbeat=heartbeat,
        )
        HealthServer(
            health.port_or(metrika.port),
            host=health.host,
            heartbeat=heartbeat,
            readiness=lambda: {**sink.obstacles(), **answers.obstacles()},
        ).start()
        sink.run(drain_seconds=log.drain_seconds)
    logs.logger().info("process.stopped")


def _tools(metrika: MetrikaSettings, vault: Vault, stop: Stop, connection: Callable[[], Connection]) -> Tools:
    renewal = Renewal(vault=vault, oauth=_oauth(metrika), connect=connection, clock=_now, stop=stop)
    quotas = Quotas(
        parallel=metrika.parallel_requests,
        per_second=metrika.requests_per_second,
        per_day=metrika.requests_per_day,
    )
    return Tools(
        metrika=Metrika(metrika.api_url, answer_seconds=metrika.answer_seconds),
        access=Access(renewal=renewal, quotas=quotas, clock=_now, stop=stop),
        pace=Pace(
            interval_seconds=metrika.upload_interval_seconds,
            upload_rows=metrika.upload_rows,
            settle_seconds=metrika.settle_seconds,
        ),
        clock=_now,
        new_id=uuid7,
        stop=stop,
    )


def _oauth(metrika: MetrikaSettings) -> OAuth | None:
    if metrika.client_id is None or metrika.client_secret is None:
        return None
    return OAuth(metrika.oauth_url, client_id=metrika.client_id, client_secret=metrika.client_secret.get_secret_value())


def _broker(settings: KafkaSettings) -> Callable[[], Broker]:
    def connected() -> Broker:
        registry = Registry(settings.schema_registry_url)
        servers = settings.bootstrap_servers
        return Broker(
            outcomes=registry.codec(CONVERSION_OUTCOMES),
            conversions=registry.codec(RESOLVED_CONVERSIONS),
            sender=kafka.Sender(kafka.producer(servers, client_id=CLIENT_ID)),
            originals=Originals(kafka.consumer(servers, group=CLIENT_ID, client_id=CLIENT_ID)),
        )

    return connected


def _now() -> datetime:
    return datetime.now(UTC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
