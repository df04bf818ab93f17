"""What became of dead letters, by whom and when: an append-only topic that only ``goalpost dlq`` writes.

A letter's mark and the record that goes back are written in one transaction of Kafka, so a run that dies at any moment
has done both or neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from goalpost.dead_letters.remembered import Remembered
from schemas.records import EVENT_ID_HEADER, Incoming, Outgoing
from schemas.topics import REPLAYS

_RUN_PREFIX: Final = "run:"
_RUN_HEADER: Final = "run"


class Fate(StrEnum):
    """What became of a letter; one without a fate is open."""

    REPLAYED = "replayed"
    """It went back as it was, or its row became pending again."""
    FIXED = "fixed"
    """It went back with a changed value."""
    SETTLED = "settled"
    """Nothing was left to do: the event is stored."""
    DISCARDED = "discarded"
    """A person gave it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The audit line of one executed replay or discard. ``counts`` is empty while it runs, and where it was cut off.

    ``reason`` is why letters were discarded, ``transform`` how they were fixed, ``stopped`` why it ended early.
    """

    run_id: str
    by: str
    started_at: str
    selection: str
    kind: str = "replay"
    reason: str = ""
    transform: str = ""
    finished_at: str = ""
    stopped: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


class Journal:
    """What earlier runs did, from the journal's records in order."""

    def __init__(self, records: Iterable[Incoming] = ()) -> None:
        self._fates = Remembered()
        self._runs: dict[str, Run] = {}
        for record in records:
            key = (record.key or b"").decode("utf-8", "replace")
            if key.startswith(_RUN_PREFIX):
                values: dict[str, Any] = json.loads(record.value or b"{}")
                self._runs[key] = Run(**values)
            else:
                self._fates.put(key, (record.value or b"").decode("utf-8", "replace"))

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run, oldest first."""
        return tuple(self._runs.values())

    def fate(self, identity: str) -> Fate | None:
        """Return what became of the letter so named (``Letter.identity``)."""
        found = self._fates.get(identity)
        return None if found is None else Fate(found)


def mark(identity: str, fate: Fate, *, event_id: str, run_id: str) -> Outgoing:
    """Return the record that says what became of the letter so named."""
    headers = ((EVENT_ID_HEADER, event_id.encode()), (_RUN_HEADER, run_id.encode()))
    return Outgoing(topic=REPLAYS.name, key=identity.encode(), value=fate.value.encode(), headers=headers)


def run_record(run: Run) -> Outgoing:
    """Return the audit record of a run; written when it starts and again, complete, when it ends."""
    value = json.dumps(asdict(run), ensure_ascii=False).encode()
    return Outgoing(topic=REPLAYS.name, key=f"{_RUN_PREFIX}{run.run_id}".encode(), value=value)
