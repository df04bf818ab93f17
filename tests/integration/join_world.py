"""What the join's integration tests share: a worker as a process of its own, and the topics around it.

The topics' names are fixed and shared with other tests, so every record is found by ids that only its test knows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError

from confluent_kafka import Consumer

from goalpost.cluster import records
from runtime import kafka
from runtime.registry import Registry
from schemas.codec import Codec
from schemas.contracts import RAW_EVENTS, RESOLVED_CONVERSIONS, WEB_SESSIONS, WEBHOOK_CONFIGURATIONS
from schemas.events import Conversion, GoalRule, RawEvent, Session, Webhook
from schemas.identity import event_key, row_id_for, session_key, visitor_key
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, RAW, SESSIONS, WAITING, WEBHOOKS

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
_READ = (
    *(topic.name for topic in (RAW, SESSIONS, CONVERSIONS, WAITING)),
    *(topic.dead_letters for topic in (RAW, SESSIONS, WAITING)),
)


def eventually(what: str, look: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Return what ``look`` finds, looking until it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@dataclass
class World:
    """The topics of one stack, seen from a test: only what is written after this object was made."""

    bootstrap_servers: str
    registry_url: str
    webhook: Webhook = field(init=False)

    def __post_init__(self) -> None:
        registry = Registry(self.registry_url)
        self.raw: Codec[RawEvent] = registry.codec(RAW_EVENTS)
        self.sessions: Codec[Session] = registry.codec(WEB_SESSIONS)
        self.conversions: Codec[Conversion] = registry.codec(RESOLVED_CONVERSIONS)
        self.webhooks: Codec[Webhook] = registry.codec(WEBHOOK_CONFIGURATIONS)
        self.sender = kafka.Sender(kafka.producer(self.bootstrap_servers, client_id="join-test"))
        self._begins = {name: self._ends(name) for name in _READ}
        self.webhook = self.configure()

    def configure(self, **changes: Any) -> Webhook:
        """Write a webhook's configuration."""
        values: dict[str, Any] = {
            "webhook_id": str(uuid.uuid4()),
            "counter_id": str(uuid.uuid4()),
            "metrika_counter_id": 4711,
            "name": "join test",
            "dialect": "generic",
            "secret_hashes": (),
            "sealed_secrets": (),
            "default_goal": "crm_conversion",
            "changed_at": now(),
            "default_currency": "RUB",
            "rules": (GoalRule(stage="won", goal="deal_won"),),
        }
        webhook = Webhook(**{**values, **changes})
        key = webhook.webhook_id.encode()
        self.sender.send([Outgoing(topic=WEBHOOKS.name, key=key, value=self.webhooks.encode(webhook))])
        return webhook

    def event(self, **values: Any) -> RawEvent:
        """An event of this world's webhook; ids only as given."""
        given: dict[str, Any] = {
            "event_id": str(uuid.uuid4()),
            "webhook_id": self.webhook.webhook_id,
            "dialect": "generic",
            "received_at": now(),
            "occurred_at": now(),
            "body": b'{"from": "a test"}',
        }
        return RawEvent(**{**given, **values})

    def session(self, session_id: str, **values: Any) -> Session:
        """A session of now."""
        given: dict[str, Any] = {
            "row_id": row_id_for(session_id),
            "session_at": now(),
            "last_visit_at": now(),
            "received_at": now(),
            "creates_row": True,
        }
        return Session(session_id=session_id, **{**given, **values})

    def record_of(self, event: RawEvent) -> Outgoing:
        """The raw record of an event, as the webhook service writes it."""
        headers = ((EVENT_ID_HEADER, event.event_id.encode()), (WEBHOOK_ID_HEADER, event.webhook_id.encode()))
        return Outgoing(topic=RAW.name, key=event_key(event), value=self.raw.encode(event), headers=headers)

    def records_of(self, session: Session) -> list[Outgoing]:
        """The records of a session, by session and by visitor."""
        value = self.sessions.encode(session)
        keys = [session_key(session.session_id)]
        if session.ym_uid is not None:
            keys.append(visitor_key(session.ym_uid))
        return [Outgoing(topic=SESSIONS.name, key=key, value=value) for key in keys]

    def report(self, *events: RawEvent) -> None:
        """Write events to ``crm.events.raw``."""
        self.sender.send([self.record_of(event) for event in events])

    def visit(self, *sessions: Session) -> None:
        """Write sessions to ``web.sessions``."""
        self.sender.send([record for session in sessions for record in self.records_of(session)])

    def records(self, topic: str, of_events: Iterable[str]) -> list[Incoming]:
        """Everything in ``topic`` whose event_id header is one of ``of_events``."""
        wanted = set(of_events)
        return [record for record in self.everything(topic) if header(record.headers, EVENT_ID_HEADER) in wanted]

    def everything(self, topic: str) -> Iterator[Incoming]:
        """Every record of ``topic`` up to its present end; of the join's topics, those since this object was made."""
        begins = self._begins.get(topic, {})
        for record in records(self.bootstrap_servers, [topic]):
            if record.offset >= begins.get(record.partition, 0):
                yield record

    def _ends(self, topic: str) -> dict[int, int]:
        client = self._consumer()
        try:
            return kafka.end_offsets(client, topic, kafka.partitions_of(client, topic))
        finally:
            client.close()

    def _consumer(self) -> Consumer:
        name = f"join-test-{uuid.uuid4()}"
        return kafka.consumer(self.bootstrap_servers, group=name, client_id=name)

    def conversion(self, event: RawEvent) -> Conversion:
        """Wait for the conversion of ``event``."""
        found = eventually("the conversion", lambda: self.records(CONVERSIONS.name, [event.event_id]))
        return self.conversions.decode(found[0].value)


def now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Worker:
    """A join worker as a process."""

    def __init__(self, world: World, state_dir: Path, **settings: str) -> None:
        self._log = (state_dir.parent / f"worker-{uuid.uuid4()}.log").open("w+")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GOALPOST_")},
            "KAFKA_BOOTSTRAP_SERVERS": world.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": world.registry_url,
            "GOALPOST_STREAM_PORT": "0",
            "GOALPOST_STATE_DIR": str(state_dir),
            "GOALPOST_WAITING_DELAYS_SECONDS": "1,2",
            **settings,
        }
        self.process = subprocess.Popen([sys.executable, "-m", "streams"], env=environment, stderr=self._log)

    def log(self) -> list[dict[str, Any]]:
        """The lines it has written; what is no JSON comes as ``{"text": line}``."""
        self._log.seek(0)
        return [json.loads(line) if line.startswith("{") else {"text": line} for line in self._log]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event name."""
        return [line for line in self.log() if line.get("event") == event]

    def answer(self, path: str) -> tuple[int, str]:
        """What its health port says."""
        port = eventually("the health port", lambda: self.logged("health.started"))[0]["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def until_ready(self) -> Worker:
        """Wait until it says that it can work."""
        eventually("readiness", self._ready)
        return self

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"the worker ended: {self.log()}"
        try:
            return self.answer("/readyz")[0] == 200
        except URLError:
            return False

    def terminate(self) -> int:
        """Ask it to stop; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        """Kill it without warning."""
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        """Nothing is left running."""
        if self.process.poll() is None:
            self.kill()
        self._log.close()


@contextmanager
def working(world: World, state_dir: Path, **settings: str) -> Iterator[Worker]:
    """A worker that is ready."""
    worker = Worker(world, state_dir, **settings)
    try:
        yield worker.until_ready()
    finally:
        worker.close()
