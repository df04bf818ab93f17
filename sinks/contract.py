"""What the consumer loop needs of a sink, and what a sink answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from schemas.dead_letter import Reason
from schemas.records import Incoming

T = TypeVar("T")
Content_co = TypeVar("Content_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Generic[Content_co]):
    """A record and what it says."""

    record: Incoming
    content: Content_co


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record that becomes a dead letter, and why."""

    record: Incoming
    reason: Reason


class Sink(Protocol[T]):
    """What the loop needs of a sink. Everything may raise ``Transient`` (called again later) or ``Fatal``."""

    name: str

    def open(self) -> None:
        """Reach all dependencies; called before the first record."""

    def probe(self) -> None:
        """See whether the dependencies still answer."""

    def decode(self, record: Incoming) -> T | None:
        """Return what ``record`` says, or ``None`` if it does not concern this sink. Raises ``Undecodable``."""

    def write(self, batch: Sequence[Item[T]]) -> Sequence[Refused]:
        """Make the effects of ``batch`` durable and return what is refused. A repeat must change nothing."""

    def close(self) -> None:
        """Let go of the dependencies; nothing is called afterwards."""
