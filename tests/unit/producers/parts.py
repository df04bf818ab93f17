"""What the webhook service is made of in tests: a publisher that remembers, one webhook, a client without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx

from producers.admission import Admission
from producers.dialects.sizes import USUAL_SIZES, Sizes
from producers.directory import Entry, Index, index_of
from producers.door import Door, Endpoints
from producers.hooks import Hooks
from producers.meter import Meter
from producers.pages import pages
from producers.publisher import NotAcknowledged
from producers.quarantine import Quarantine
from producers.sessions import SessionIntake, SessionLimits
from producers.signature import keys_of
from producers.worker import Worker
from runtime.lifecycle import Heartbeat, health
from runtime.vault import hash_of
from schemas.codec import UnknownSchemaId
from schemas.contracts import RAW_EVENTS, WEB_SESSIONS, WEBHOOK_CONFIGURATIONS
from schemas.events import RawEvent, Session, Webhook
from schemas.records import Outgoing
from schemas.topics import RAW, SESSIONS

NOW_MS = 1_790_000_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WRITE_KEY = "write-key-of-the-site"
WEBHOOK = Webhook(
    webhook_id="5f0c1b54-7a3e-4c5e-9d3b-0a8f1d2c3b4a",
    counter_id="8a1d7e9c-20b7-4d55-8f0e-6f1f3f0b9c1d",
    metrika_counter_id=10_000_001,
    name="shop",
    dialect="generic",
    secret_hashes=(hash_of(SECRET),),
    sealed_secrets=(),
    default_goal="crm_conversion",
    changed_at=NOW_MS,
)


def _foreign(schema_id: int) -> str:
    raise UnknownSchemaId(schema_id)


RAW_CODEC = RAW_EVENTS.codec(schema_id=1, foreign_schema=_foreign)
SESSION_CODEC = WEB_SESSIONS.codec(schema_id=3, foreign_schema=_foreign)
WEBHOOK_CODEC = WEBHOOK_CONFIGURATIONS.codec(schema_id=6, foreign_schema=_foreign)


async def until(condition: Callable[[], bool]) -> None:
    """Return when ``condition`` holds; fail after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it looks from outside
            await asyncio.sleep(0.005)


def entry(webhook: Webhook = WEBHOOK, *secrets: str) -> Entry:
    """Return a directory entry whose signing keys are those of ``secrets`` (default: the test secret)."""
    keys = tuple(key for secret in secrets or (SECRET,) for key in keys_of(secret))
    return Entry(webhook=webhook, signing_keys=keys)


def webhook(**changes: object) -> Webhook:
    """Return the test webhook with changes."""
    return replace(WEBHOOK, **changes)  # type: ignore[arg-type]  # fields are named by the test


class RememberingPublisher:
    """Acknowledges everything at once, nothing when ``down``, and when ``passing`` is set while that is cleared."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.down = False
        self.passing = asyncio.Event()
        self.passing.set()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Remember ``records``."""
        await self.passing.wait()
        if self.down:
            raise NotAcknowledged("Kafka does not answer and the spool is full")
        self.records += records

    def offer(self, record: Outgoing) -> None:
        """Remember ``record``."""
        if not self.down:
            self.records.append(record)

    @property
    def events(self) -> list[RawEvent]:
        """The raw events, decoded."""
        return [RAW_CODEC.decode(record.value) for record in self.records if record.topic == RAW.name]

    @property
    def sessions(self) -> list[tuple[bytes, Session | None]]:
        """Keys and decoded sessions; ``None`` for a tombstone."""
        return [
            (record.key or b"", SESSION_CODEC.decode(record.value) if record.value is not None else None)
            for record in self.records
            if record.topic == SESSIONS.name
        ]


class Service:
    """The whole ASGI application around a publisher that remembers."""

    def __init__(
        self,
        *webhooks: Webhook,
        max_body_bytes: int = 65_536,
        origins: tuple[str, ...] = (),
        index: Index | None = None,
        admission: Admission | None = None,
        max_sessions_per_second: float = 0.0,
        max_in_flight: int = 1000,
        sizes: Sizes = USUAL_SIZES,
        max_row_bytes: int = 65_536,
        limits: SessionLimits | None = None,
    ) -> None:
        admission = admission or Admission(max_in_flight=max_in_flight, per_second=0.0)
        self.clock_seconds = 1000.0
        self.publisher = RememberingPublisher()
        self.index = index or index_of(entry(one) for one in webhooks or (WEBHOOK,))
        hooks = Hooks(
            index=lambda: self.index,
            publisher=self.publisher,
            codec=RAW_CODEC,
            clock_ms=lambda: NOW_MS,
            max_body_bytes=max_body_bytes,
            sizes=sizes,
            worker=Worker(),
            admission=admission,
            quarantine=Quarantine(self.publisher.offer, lambda: self.clock_seconds),
        )
        intake = SessionIntake(
            write_key=WRITE_KEY,
            publisher=self.publisher,
            codec=SESSION_CODEC,
            clock_ms=lambda: NOW_MS,
            admission=admission,
            worker=Worker(),
            limits=limits
            or SessionLimits(
                body_bytes=max_body_bytes,
                row_bytes=max_row_bytes,
                per_second=max_sessions_per_second,
                sizes=sizes,
            ),
            allowed_origins=frozenset(origins),
            clock=lambda: self.clock_seconds,
        )
        self.door = Door(
            pages(healthz=lambda: health(Heartbeat())),
            meter=Meter(),
            allowed_origins=origins,
            max_in_flight=max_in_flight,
        )
        self.endpoints = Endpoints(
            drop_in=hooks.drop_in, named=hooks.named, beacon=intake.beacon, supabase=intake.supabase
        )
        self.door.open(self.endpoints)

    def client(self) -> httpx.AsyncClient:
        """Return a client of the application."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.door), base_url="http://door")
