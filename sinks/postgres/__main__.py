"""The process ``goalpost sink postgres``: crm.conversions, and the sessions goalpost creates, to Postgres."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Final

from runtime import kafka, logs
from runtime.attention import Attention
from runtime.breaker import Breaker, Limits
from runtime.failures import Fatal
from runtime.lifecycle import HealthServer, Heartbeat, Stop
from runtime.lookout import Lookout
from runtime.postgres import Answers
from runtime.registry import Registry
from runtime.sections import (
    DatabaseSettings,
    HealthSettings,
    KafkaSettings,
    LogSettings,
    PostgresSinkSettings,
    RejectSettings,
)
from runtime.sending import LastingSender
from runtime.settings import BadSettings, load
from schemas.topics import CONVERSIONS, POSTGRES_SINK_GROUP, SESSIONS
from sinks.consumer import SinkLoop
from sinks.postgres.connection import connect
from sinks.postgres.sink import Content, Interrupted, PostgresSink

CLIENT_ID: Final = "goalpost-postgres-sink"


def main() -> None:
    """Store resolved conversions in Postgres until SIGTERM.

    Raises:
        SystemExit: 2 where the settings are not usable, 1 where the sink cannot go on.
    """
    try:
        settings = load(
            KafkaSettings, DatabaseSettings, PostgresSinkSettings, LogSettings, RejectSettings, HealthSettings
        )
    except BadSettings as exc:
        sys.stderr.write(f"{exc}\n")
        raise SystemExit(2) from exc
    try:
        _run(*settings)
    except Fatal as exc:
        logs.logger().error("process.failed", error=str(exc))
        raise SystemExit(1) from exc


def _run(
    kafka_settings: KafkaSettings,
    database: DatabaseSettings,
    sink_settings: PostgresSinkSettings,
    log: LogSettings,
    rejects: RejectSettings,
    health: HealthSettings,
) -> None:
    logs.configure("sink-postgres", level=log.level, json_lines=log.json_lines)
    stop, heartbeat = Stop(), Heartbeat()
    stop.listen()
    servers = kafka_settings.bootstrap_servers

    def between() -> None:
        heartbeat.beat()
        if stop.requested:
            raise Interrupted(Interrupted.__doc__)

    answers = Answers.until(stop, drain_seconds=log.drain_seconds)
    lookout = Lookout.over(servers, CONVERSIONS.name, SESSIONS.name, group=POSTGRES_SINK_GROUP)
    attention = Attention(lookout.sighting, group=POSTGRES_SINK_GROUP)
    loop = SinkLoop[Content](
        partial(
            kafka.consumer,
            servers,
            group=POSTGRES_SINK_GROUP,
            client_id=CLIENT_ID,
            says_ends=True,
            on_commit=kafka.offsets_answered,
        ),
        PostgresSink(
            partial(connect, database.database_url.get_secret_value(), application_name=CLIENT_ID, answers=answers),
            Registry(kafka_settings.schema_registry_url),
            between=between,
        ),
        LastingSender(partial(kafka.producer, servers, client_id=CLIENT_ID), client="dead letters"),
        topics=(CONVERSIONS, SESSIONS),
        batch_rows=sink_settings.batch_rows,
        stop=stop,
        heartbeat=heartbeat,
        group=POSTGRES_SINK_GROUP,
        breaker=Breaker(Limits(run=rejects.run, share=rejects.share), time.monotonic),
        attention=attention,
    )
    HealthServer(
        health.port_or(sink_settings.port),
        host=health.host,
        heartbeat=heartbeat,
        readiness=lambda: {**loop.obstacles(), **answers.obstacles(), **lookout.obstacles()},
        standstill=partial(attention.standstill, health.stalled_seconds),
    ).start()
    lookout.start()
    loop.run()
    logs.logger().info("process.stopped")


if __name__ == "__main__":
    main()
