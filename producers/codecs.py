"""The codecs of the topics that the webhook service writes and reads, with the registry's ids of their schemas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import stamina

from runtime.last_known import LastKnown
from runtime.registry import Registry, RegistryUnavailable
from schemas.codec import Codec
from schemas.contracts import RAW_EVENTS, WEB_SESSIONS, WEBHOOK_CONFIGURATIONS
from schemas.events import RawEvent, Session, Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Codecs:
    """One for each topic."""

    raw_events: Codec[RawEvent]
    sessions: Codec[Session]
    webhooks: Codec[Webhook]


async def codecs_of(registry_url: str, last_known: LastKnown, *, on_problem: Callable[[str], None]) -> Codecs:
    """Ask the registry for the ids of our schemas, until it answers or the last process has known them.

    ``on_problem`` is told, in another thread, why it has not answered.
    """
    registry = Registry(registry_url)

    def asked() -> Codecs:
        try:
            return Codecs(
                raw_events=last_known.codec(RAW_EVENTS, registry),
                sessions=last_known.codec(WEB_SESSIONS, registry),
                webhooks=last_known.codec(WEBHOOK_CONFIGURATIONS, registry),
            )
        except RegistryUnavailable as exc:
            on_problem(str(exc))
            raise

    async for attempt in stamina.retry_context(on=RegistryUnavailable, attempts=None, timeout=None, wait_max=5.0):
        with attempt:
            return await asyncio.to_thread(asked)
    raise AssertionError("the loop above ends only by its return")
