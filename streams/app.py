"""The Faust app: one agent that takes runs of ``crm.events.raw`` and acknowledges them when their outputs are written.

Only the shape that loses nothing (measured; docs/decisions/0001-no-faust-tables.md): no tables, no Faust producer for
outputs, ``noack``, a supervisor that ends the process instead of skipping, and every stop waits for what is in hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final

import faust
from faust.types import TP, StreamT

from runtime import metrics
from runtime.attention import Attention
from schemas.topics import JOIN_APP, RAW
from streams.ledger import Run
from streams.letters import STAGE
from streams.runs import RunConsumer, RunSchema

# A worker that dies is noticed after this; its partitions stand still for as long.
_SESSION_TIMEOUT_SECONDS: Final = 10.0
# What was done but not committed is done again after a crash.
_COMMIT_SECONDS: Final = 1.0
_RECORDS_PER_RUN: Final = 2000
_REBALANCE_SECONDS: Final = 60.0


def build_app(
    *,
    bootstrap_servers: str,
    folder: Path,
    ready: Callable[[], frozenset[int]],
    alive: Callable[[], None],
    attention: Attention,
    on_assigned: Callable[[frozenset[int]], None],
    on_revoked: Callable[[], None],
    write: Callable[[Run], Future[None]],
    failed: Callable[[BaseException], None],
) -> faust.App:
    """Return the app.

    ``write`` starts the writing of what follows from a run; its future is done when Kafka has it all. ``failed``
    is called with whatever a run's writing raised. ``attention`` watches the reading
    of runs. ``folder`` is where Faust may put files of its own.
    """
    app = faust.App(
        JOIN_APP,
        env={},  # else BROKER_URL, WEB_PORT and dozens of other plain names in the environment would override these
        broker=[f"kafka://{server.strip()}" for server in bootstrap_servers.split(",")],
        datadir=folder / "faust",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        agent_supervisor="mode.CrashingSupervisor",
        stream_wait_empty=True,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=_RECORDS_PER_RUN,
        broker_commit_interval=_COMMIT_SECONDS,
        broker_session_timeout=_SESSION_TIMEOUT_SECONDS,
        broker_heartbeat_interval=_SESSION_TIMEOUT_SECONDS / 4,
        broker_rebalance_timeout=_REBALANCE_SECONDS,
        worker_redirect_stdouts=False,
    )
    app.transport.Consumer = partial(RunConsumer, ready=ready, alive=alive, attention=attention)  # type: ignore[misc,assignment]  # Faust reads it from the instance

    raw = app.topic(
        RAW.name, schema=RunSchema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    )

    @app.agent(raw, name="join")
    async def join(stream: StreamT[Any]) -> None:
        async for event in stream.noack().events():  # type: ignore[attr-defined]  # StreamT does not declare it
            app.add_future(_finish(event, write, failed))

    async def partitions_assigned(_: Any, assigned: set[TP], **__: Any) -> None:
        on_assigned(frozenset(tp.partition for tp in assigned))

    async def partitions_revoked(_: Any, revoked: set[TP], **__: Any) -> None:
        on_revoked()

    app.on_partitions_assigned.connect(partitions_assigned)  # type: ignore[arg-type]  # stubbed too narrowly
    app.on_partitions_revoked.connect(partitions_revoked)  # type: ignore[arg-type]  # stubbed too narrowly
    return app


async def _finish(event: Any, write: Callable[[Run], Future[None]], failed: Callable[[BaseException], None]) -> None:
    """Acknowledge a run when everything that follows from it is written; otherwise the process has to end."""
    run: Run = event.value
    try:
        await asyncio.wrap_future(write(run))
    except Exception as error:  # noqa: BLE001 - whatever it was, this run must stay unacknowledged
        failed(error)
        return
    metrics.AGE.labels(STAGE).observe(max(0.0, time.time() - run.records[0].timestamp / 1000))
    run.finish()
    event.ack()
