"""What /readyz and /metrics say about the join."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Gauge

from runtime import metrics
from runtime.attention import Attention
from schemas.events import EpochMillis
from streams.letters import STAGE
from streams.state.store import Store

_GAUGES: tuple[Gauge, ...] = (
    metrics.SESSIONS_STORED,
    metrics.SESSIONS_LAG,
    metrics.WAITING,
    metrics.WAITING_OLDEST,
    metrics.WAITING_NEXT,
)


class States(Protocol):
    """The state, as far as it is reported."""

    def owned(self) -> frozenset[int] | None:
        """The partitions that are ours; ``None`` while they are being assigned."""

    def behind(self) -> Mapping[int, int]:
        """How much each partition that has not caught up still has to read."""

    def stores(self) -> Mapping[int, Store]:
        """The state of each partition."""


def obstacles(states: States | None, dependencies: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in the way of the work, by dependency. Having no partition is no obstacle: that is a spare."""
    found = dict(dependencies)
    if states is None or states.owned() is None:
        found.setdefault("kafka", "partitions are being assigned")
        return found
    for number, behind in states.behind().items():
        found[f"state of partition {number}"] = f"{behind} records behind" if behind else "is being opened"
    return found


@dataclass(slots=True, kw_only=True)
class Probes:
    """What the health pages ask, on their threads. ``states`` is set once there is a state.

    ``dependencies`` say what does not answer, ``awaited`` are those of them that something waits for.
    """

    events: Attention
    readers: Mapping[str, Attention]
    dependencies: Callable[[], Mapping[str, str]]
    awaited: Callable[[], Mapping[str, str]]
    stalled_seconds: float
    states: States | None = None

    def obstacles(self) -> dict[str, str]:
        """What stands in the way of the work, by dependency."""
        found = {f"reader of {name}": one.obstacle() for name, one in self.readers.items()}
        if self.states is not None and self.states.owned() is not None:
            found["reader of events"] = self.events.obstacle()
        badly = {name: problem for name, problem in found.items() if problem is not None}
        return obstacles(self.states, {**badly, **self.dependencies()})

    def standstill(self) -> str | None:
        """What gets nowhere although nothing is waited for."""
        if self.awaited():
            return None
        working = (self.events,) if self.states is not None else ()
        stand = [one.standstill(self.stalled_seconds) for one in (*working, *self.readers.values())]
        return next((problem for problem in stand if problem is not None), None)


class Gauges:
    """Keeps the gauges of the state; those of partitions that are no longer ours disappear."""

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def show(self, states: States) -> None:
        """Take the figures now."""
        stores = states.stores()
        for number in self._shown - set(stores):
            for gauge in _GAUGES:
                gauge.remove(str(number))
        self._shown = set(stores)
        # Asked of the state, never of its Kafka client: another thread polls that, and after a broker's death even the
        # offsets that it has at hand may not be answered any more.
        behind = states.behind()
        for number, store in stores.items():
            label = str(number)
            room = store.room()
            metrics.SESSIONS_STORED.labels(label).set(store.session_keys())
            metrics.SESSIONS_LAG.labels(label).set(behind.get(number, 0))
            metrics.WAITING.labels(label).set(room.waiting)
            metrics.WAITING_OLDEST.labels(label).set(_seconds(room.since))
            metrics.WAITING_NEXT.labels(label).set(_seconds(room.due))
        metrics.PROGRESS.labels(STAGE).set(time.time())


def _seconds(moment: EpochMillis | None) -> float:
    return 0 if moment is None else moment / 1000
