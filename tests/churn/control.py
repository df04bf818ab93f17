"""The control: the join as Faust's documentation writes it, with a Table: ``python -m tests.churn.control``.

It reads and writes the same topics by the same rules and is as careful as Faust's public interface allows: each event
waits for the acknowledgement of what follows from it. It does not wait for sessions, so it has no waiting room.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

import faust
from faust.types import StreamT

from runtime.registry import Registry
from schemas.contracts import RAW_EVENTS, RESOLVED_CONVERSIONS, WEB_SESSIONS
from schemas.records import EVENT_ID_HEADER
from schemas.topics import CONVERSIONS, DEFAULT_PARTITIONS, RAW, SESSIONS
from streams.resolve import Occasion, Policy, Resolved, resolve
from streams.sessions import pack, unpack
from tests.bench.material import WEBHOOK

CONTROL_APP: Final = "churn-control"
_NO_WAITING: Final = Policy(delays_ms=(), deadline_margin_ms=0)


def build_app(bootstrap_servers: str, registry: Registry, folder: Path) -> faust.App:
    """Return the app. Its group notices a killed worker as fast as goalpost's does."""
    raw, session, conversion = (
        registry.codec(contract) for contract in (RAW_EVENTS, WEB_SESSIONS, RESOLVED_CONVERSIONS)
    )
    app = faust.App(
        CONTROL_APP,
        broker=f"kafka://{bootstrap_servers}",
        datadir=folder,
        store="memory://",
        topic_partitions=DEFAULT_PARTITIONS,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.5,
        web_enabled=False,
        autodiscover=False,
    )
    options: dict[str, Any] = {"key_type": bytes, "value_type": bytes}
    options |= {"key_serializer": "raw", "value_serializer": "raw"}
    events, visits = app.topic(RAW.name, **options), app.topic(SESSIONS.name, **options)
    conversions, letters = app.topic(CONVERSIONS.name, **options), app.topic(RAW.dead_letters, **options)
    sessions = app.Table("sessions", partitions=DEFAULT_PARTITIONS, key_type=str, value_type=str)

    @app.agent(visits)
    async def remember(stream: StreamT[bytes]) -> None:
        async for key, visit in stream.items():
            sessions[bytes(key).decode()] = pack(session.decode(visit)).decode()

    @app.agent(events)
    async def join(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            reported = raw.decode(event.value)
            stored = sessions.get(event.key.decode())
            outcome = resolve(
                reported,
                None if stored is None else unpack(stored.encode()),
                WEBHOOK,
                occasion=Occasion(attempt=0, raw_partition=event.message.partition, raw_offset=event.message.offset),
                policy=_NO_WAITING,
                now=time.time_ns() // 1_000_000,
            )
            headers = {EVENT_ID_HEADER: reported.event_id.encode()}
            if isinstance(outcome, Resolved):
                value = conversion.encode(outcome.conversion)
                await (await conversions.send(key=event.key, value=value, headers=headers))
            else:
                await (await letters.send(key=event.key, value=event.value, headers=headers))

    return app


def main() -> None:
    """Join until SIGTERM."""
    app = build_app(
        os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        Registry(os.environ["SCHEMA_REGISTRY_URL"]),
        Path(os.environ["GOALPOST_STATE_DIR"]),
    )
    faust.Worker(app, loglevel="info", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
