"""The process ``goalpost sink postgres``: crm.conversions, and the sessions goalpost creates, to Postgres."""

from __future__ import annotations

from functools import partial
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from runtime import kafka, logs
from runtime.lifecycle import HealthServer, Heartbeat, Stop
from runtime.registry import Registry
from runtime.settings import DatabaseSettings, KafkaSettings, LogSettings, PostgresSinkSettings, load
from schemas.topics import CONVERSIONS, POSTGRES_SINK_GROUP, SESSIONS
from sinks.consumer import SinkLoop
from sinks.postgres.connection import connect
from sinks.postgres.sink import Content, PostgresSink

CLIENT_ID: Final = "goalpost-postgres-sink"
_PROBE_SECONDS: Final = 2.0


def main() -> None:
    """Store resolved conversions in Postgres until SIGTERM."""
    kafka_settings, database, sink_settings, log = load(
        KafkaSettings, DatabaseSettings, PostgresSinkSettings, LogSettings
    )
    logs.configure("sink-postgres", level=log.level, json_lines=log.json_lines)
    stop, heartbeat = Stop(), Heartbeat()
    stop.listen()
    servers = kafka_settings.bootstrap_servers
    loop = SinkLoop[Content](
        kafka.consumer(servers, group=POSTGRES_SINK_GROUP, client_id=CLIENT_ID),
        PostgresSink(
            partial(connect, database.database_url.get_secret_value(), application_name=CLIENT_ID),
            Registry(kafka_settings.schema_registry_url),
        ),
        kafka.Sender(kafka.producer(servers, client_id=CLIENT_ID)),
        topics=(CONVERSIONS, SESSIONS),
        batch_rows=sink_settings.batch_rows,
        stop=stop,
        heartbeat=heartbeat,
    )
    admin = kafka.admin(servers)
    health = HealthServer(
        sink_settings.port, heartbeat=heartbeat, readiness=lambda: {**loop.obstacles(), **_without_kafka(admin)}
    )
    health.start()
    logs.logger().info("health.started", port=health.port)
    loop.run()
    logs.logger().info("process.stopped")


def _without_kafka(admin: AdminClient) -> dict[str, str]:
    """Ask the broker itself: a consumer without a broker looks like one without work."""
    try:
        admin.list_topics(CONVERSIONS.name, timeout=_PROBE_SECONDS)
    except KafkaException as exc:
        return {"kafka": exc.args[0].str()}
    return {}


if __name__ == "__main__":
    main()
