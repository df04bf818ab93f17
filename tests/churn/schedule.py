"""When which worker is started, stopped or killed, and when the broker goes down: all from one random source. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

WORKERS: Final = 3

# A killed worker is missed after ten seconds, so some blows fall into the rebalance that another one has caused.
_PAUSES_SECONDS: Final = (1.5, 6.0)


class Action(Enum):
    """What happens to a worker."""

    START = "start"
    START_ELSEWHERE = "start with an empty disk"
    STOP = "SIGTERM"
    KILL = "kill -9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """Something is done to a worker, ``at`` seconds after the beginning."""

    at: float
    worker: int
    action: Action

    def __str__(self) -> str:
        return f"worker {self.worker}: {self.action.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The broker is stopped or killed and started again at once."""

    at: float
    killed: bool

    def __str__(self) -> str:
        return f"broker: {'kill -9' if self.killed else 'stop'} and start"


def schedule(choice: random.Random, *, seconds: float) -> list[Blow | Outage]:
    """Return what is done to workers that all run at the beginning. The broker goes down once, in the middle."""
    blows: list[Blow | Outage] = []
    alive = set(range(WORKERS))
    ends: list[Action] = []
    at = choice.uniform(*_PAUSES_SECONDS)
    while at < seconds:
        worker = choice.randrange(WORKERS)
        if worker in alive:
            ends = ends or choice.sample([Action.STOP, Action.KILL], 2)
            action = ends.pop()
        else:
            action = choice.choice([Action.START, Action.START, Action.START_ELSEWHERE])
        alive ^= {worker}
        blows.append(Blow(at=at, worker=worker, action=action))
        at += choice.uniform(*_PAUSES_SECONDS)
    outage = Outage(at=seconds * choice.uniform(0.4, 0.6), killed=choice.random() < 0.5)
    return sorted([*blows, outage], key=lambda step: step.at)
