"""Tells Kafka what was written about webhooks, and says what to do where that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from goalpost.webhooks.publishing import publish
from runtime.failures import Fatal, Transient
from runtime.sections import KafkaSettings
from runtime.settings import load
from schemas.events import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Whether Kafka knows; ``problem`` says why not."""

    problem: str | None

    @property
    def fields(self) -> dict[str, Any]:
        """The same for programs."""
        return {"published": self.problem is None, "problem": self.problem}

    @property
    def lines(self) -> list[str]:
        """The same for people."""
        if self.problem is None:
            return []
        return [f"Kafka does not know it yet: {self.problem}", "When that is put right: goalpost admin webhook publish"]

    def end(self) -> None:
        """Leave with 1 if a person has something left to do."""
        if self.problem is not None:
            raise SystemExit(1)


Tell = Callable[[Sequence[Webhook], Sequence[str]], Told]


def teller() -> Tell:
    """Read the settings now: a command that cannot know where Kafka is must not have written anything."""
    (settings,) = load(KafkaSettings)

    def tell(configurations: Sequence[Webhook], removed: Sequence[str]) -> Told:
        try:
            publish(settings.bootstrap_servers, settings.schema_registry_url, configurations, removed)
        except (Fatal, Transient) as exc:
            return Told(problem=str(exc))
        return Told(problem=None)

    return tell
