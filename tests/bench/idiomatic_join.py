"""The same join in Faust as its documentation writes it: ``python -m tests.bench.idiomatic_join``.

``async for`` over events, sessions in a Table, an awaited ``send`` for each conversion; Avro through a codec.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final

import faust
from faust.serializers.codecs import Codec
from faust.types import StreamT

from runtime.registry import Registry
from schemas.contracts import RAW_EVENTS, RESOLVED_CONVERSIONS, WEB_SESSIONS
from schemas.topics import DEFAULT_PARTITIONS
from tests.bench.plain_join import Avro, Fields, conversion_of
from tests.bench.processes import READY_LINE

RAW_TOPIC: Final = "bench.faust.raw"
SESSIONS_TOPIC: Final = "bench.faust.sessions"
CONVERSIONS_TOPIC: Final = "bench.faust.conversions"


class AvroCodec(Codec):
    """Avro as a Faust codec."""

    def __init__(self, avro: Avro, **options: Any) -> None:
        super().__init__(avro=avro, **options)
        self._avro = avro

    def _loads(self, s: bytes) -> Fields:
        return self._avro.decode(s)

    def _dumps(self, obj: Fields) -> bytes:
        return self._avro.encode(obj)


def build_app(bootstrap_servers: str, registry: Registry, *, session_records: int) -> faust.App:
    """Return the app; it prints the ready line once the Table holds ``session_records`` keys."""
    raw, session, conversion = (
        AvroCodec(Avro(contract, registry)) for contract in (RAW_EVENTS, WEB_SESSIONS, RESOLVED_CONVERSIONS)
    )
    app = faust.App(
        "bench-faust",
        broker=f"kafka://{bootstrap_servers}",
        store="memory://",
        topic_partitions=DEFAULT_PARTITIONS,
        topic_replication_factor=1,
        web_enabled=False,
        autodiscover=False,
    )
    events = app.topic(RAW_TOPIC, key_type=bytes, key_serializer="raw", value_serializer=raw)
    visits = app.topic(SESSIONS_TOPIC, key_type=bytes, key_serializer="raw", value_serializer=session)
    conversions = app.topic(CONVERSIONS_TOPIC, key_type=bytes, key_serializer="raw", value_serializer=conversion)
    sessions = app.Table("sessions", partitions=DEFAULT_PARTITIONS, key_type=str, default=None)

    @app.agent(visits)
    async def remember(stream: StreamT[Fields]) -> None:
        async for key, visit in stream.items():
            sessions[bytes(key).decode()] = visit
            if len(sessions) == session_records:
                print(READY_LINE)

    @app.agent(events)
    async def join(stream: StreamT[Fields]) -> None:
        async for event in stream.events():
            place, now = event.message, time.time_ns() // 1_000_000
            fields = conversion_of(
                event.value,
                sessions[event.key.decode()],
                partition=place.partition,
                offset=place.offset,
                now=now,
            )
            headers = {"event_id": fields["event_id"].encode(), "webhook_id": fields["webhook_id"].encode()}
            await conversions.send(key=event.key, value=fields, headers=headers)

    return app


def main() -> None:
    """Join until SIGTERM; the only argument is the number of session records to wait for."""
    app = build_app(
        os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        Registry(os.environ["SCHEMA_REGISTRY_URL"]),
        session_records=int(sys.argv[1]),
    )
    faust.Worker(app, loglevel="warning", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
