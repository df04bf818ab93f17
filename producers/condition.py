"""How the webhook service is: what stands in its way, what else should be known, and whether it gets on at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from producers.directory import Index

# So long without an acknowledgement is told; a broker that elects a leader needs less.
_NOTICED_SECONDS: Final = 6.0


class Spooling(Protocol):
    """What is asked of the spool."""

    @property
    def full(self) -> bool:
        """Whether a request of the usual size would find no room."""

    def notes(self) -> dict[str, str]:
        """What people should know."""


class Publishing(Protocol):
    """What is asked of the client that writes requests to Kafka."""

    def idle_seconds(self) -> float:
        """For how long Kafka has acknowledged nothing, although it answers and there is something to send."""


class Watched(Protocol):
    """What is asked about the reader of the webhooks."""

    def obstacle(self) -> str | None:
        """What is wrong with it."""

    def standstill(self, after_seconds: float) -> str | None:
        """What stands still for longer than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Asked by the health pages, on their threads.

    ``index`` is ``None`` before the schemas' ids are known; ``registry`` says why they are not.
    """

    registry: Callable[[], str]
    index: Callable[[], Index | None]
    spool: Spooling
    requests: Publishing
    webhooks: Watched
    kafka: Callable[[], Mapping[str, str]]
    stalled_seconds: float

    def obstacles(self) -> dict[str, str]:
        """What keeps the service from taking requests."""
        found: dict[str, str] = {}
        index = self.index()
        if index is None:
            found["schema registry"] = self.registry()
        elif not index.complete and not index.by_id:
            found["webhooks"] = "their topic is not read to its end yet"
        if found or self.spool.full:
            return {**found, **self.kafka()}
        return found

    def notes(self) -> dict[str, str]:
        """What does not: with room on the spool, events are taken, and a balancer must not turn them away."""
        found = self.spool.notes()
        index = self.index()
        if index is not None and index.by_id and not index.complete:
            found["webhooks"] = "as they were when Kafka last had them all; for others senders get 503"
        if (problem := self.webhooks.obstacle()) is not None:
            found["webhooks"] = f"changes do not come: {problem}"
        if (idle := self.requests.idle_seconds()) > _NOTICED_SECONDS:
            found["requests"] = f"Kafka has acknowledged nothing for {idle:.0f} s"
        if not self.obstacles():
            found.update(self.kafka())
        return found

    def standstill(self) -> str | None:
        """What gets nowhere although Kafka answers; a restart is the cure."""
        if (idle := self.requests.idle_seconds()) > self.stalled_seconds:
            return f"Kafka answers others, and has acknowledged nothing of this process for {idle:.0f} s"
        return self.webhooks.standstill(self.stalled_seconds)
