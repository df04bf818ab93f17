"""Composition root of ``goalpost sessions follow``, and the parts that it shares with the backfill."""

from __future__ import annotations

from functools import partial
from typing import Final

from goalpost.sessions.follower import Follower
from goalpost.sessions.pace import Pace
from goalpost.sessions.publishing import SessionTopic
from runtime import kafka, logs
from runtime.failures import Fatal
from runtime.lifecycle import HealthServer, Heartbeat, Stop
from runtime.lookout import Lookout
from runtime.postgres import Answers
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, FollowSettings, HealthSettings, KafkaSettings, LogSettings
from runtime.settings import load
from schemas.contracts import WEB_SESSIONS
from schemas.topics import SESSIONS
from sinks.postgres.connection import connect

CLIENT_ID: Final = "goalpost-sessions"
# Far below the session's limit on idle transactions: a turn waits for Kafka inside one.
_DELIVERY_SECONDS: Final = 10.0


def session_topic(settings: KafkaSettings) -> SessionTopic:
    """Return the topic of the cluster and registry in ``settings``."""
    return SessionTopic(
        partial(kafka.producer, settings.bootstrap_servers, client_id=CLIENT_ID, delivery_seconds=_DELIVERY_SECONDS),
        partial(Registry(settings.schema_registry_url).codec, WEB_SESSIONS),
    )


def follow(rows_per_second: float | None) -> None:
    """Follow until SIGTERM.

    Raises:
        BadSettings: lists what is wrong with them.
        SystemExit: 1 where it cannot go on.
    """
    kafka_settings, database, settings, log, health = load(
        KafkaSettings, DatabaseSettings, FollowSettings, LogSettings, HealthSettings
    )
    logs.configure("sessions-follow", level=log.level, json_lines=log.json_lines)
    stop, heartbeat = Stop(), Heartbeat()
    stop.listen()
    answers = Answers.until(stop, drain_seconds=log.drain_seconds)
    lookout = Lookout.over(kafka_settings.bootstrap_servers, SESSIONS.name)
    follower = Follower(
        partial(connect, database.database_url.get_secret_value(), application_name=CLIENT_ID, answers=answers),
        session_topic(kafka_settings),
        pace=Pace(rows_per_second),
        poll_seconds=settings.poll_seconds,
        stop=stop,
        heartbeat=heartbeat,
    )
    HealthServer(
        health.port_or(settings.port),
        host=health.host,
        heartbeat=heartbeat,
        readiness=lambda: {**follower.obstacles(), **answers.obstacles(), **lookout.obstacles()},
    ).start()
    lookout.start()
    try:
        follower.run()
    except Fatal as exc:
        logs.logger().error("process.failed", error=str(exc))
        raise SystemExit(1) from exc
    logs.logger().info("process.stopped")
