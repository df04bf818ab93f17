"""Which blows fall, from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What happens to Kafka: it stands still, as a machine without air does, or it is gone and started again."""

    FREEZE = "freeze"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One outage; ``seconds`` is how long a freeze lasts, ``pause`` for how long all is well before it."""

    kind: Kind
    seconds: float
    pause: float

    def __str__(self) -> str:
        return f"freeze of {self.seconds:.0f} s" if self.kind is Kind.FREEZE else "kill -9"


def schedule(seed: int, *, freezes: int, kills: int, shortest: float, longest: float) -> Iterator[Blow]:
    """Yield so many blows in an order that the seed gives."""
    choice = random.Random(seed)
    kinds = [Kind.FREEZE] * freezes + [Kind.KILL] * kills
    choice.shuffle(kinds)
    for kind in kinds:
        yield Blow(kind=kind, seconds=choice.uniform(shortest, longest), pause=choice.uniform(2.0, 6.0))
