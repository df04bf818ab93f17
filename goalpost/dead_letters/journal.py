"""What became of dead letters, by whom and when: an append-only topic that only ``goalpost dlq`` writes.

A letter's mark and the record that goes back are written in one transaction of Kafka, so a run that dies at any moment
has done both or neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter, ValidationError

from goalpost.dead_letters.remembered import Remembered
from schemas.records import EVENT_ID_HEADER, Incoming, Outgoing
from schemas.topics import REPLAYS

_RUN_PREFIX: Final = "run:"
_RUN_HEADER: Final = "run"
# A letter's id, or its place; and a run with a selection that names a thousand letters.
_LONGEST_KEY_BYTES: Final = 512
_LARGEST_RUN_BYTES: Final = 256 * 1024


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


_FATES: Final = frozenset(fate.value.encode() for fate in Fate)


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


_RUNS: Final = TypeAdapter(Run)


class Journal:
    """What earlier runs did, from the journal's records in order; what is none of ours there says nothing."""

    def __init__(self, records: Iterable[Incoming] = ()) -> None:
        self._fates = Remembered()
        self._runs: dict[str, Run] = {}
        for record in records:
            if record.key is None or len(record.key) > _LONGEST_KEY_BYTES:
                continue
            key = record.key.decode("utf-8", "replace")
            if key.startswith(_RUN_PREFIX):
                run = _run_in(record.value or b"")
                if run is not None and key == f"{_RUN_PREFIX}{run.run_id}":
                    self._runs[key] = run
            elif record.value in _FATES:
                self._fates.put(key, record.value.decode())

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run, oldest first."""
        return tuple(self._runs.values())

    def fate(self, identity: str) -> Fate | None:
        """Return what became of the letter so named (``Letter.identity``)."""
        found = self._fates.get(identity)
        return None if found is None else Fate(found)


def _run_in(value: bytes) -> Run | None:
    """Read a run; of a newer version's what this one knows."""
    if len(value) > _LARGEST_RUN_BYTES:
        return None
    try:
        return _RUNS.validate_json(value, strict=True)
    except ValidationError:
        return None


def mark(identity: str, fate: Fate, *, event_id: str, run_id: str) -> Outgoing:
    """Return the record that says what became of the letter so named."""
    headers = ((EVENT_ID_HEADER, event_id.encode()), (_RUN_HEADER, run_id.encode()))
    return Outgoing(topic=REPLAYS.name, key=identity.encode(), value=fate.value.encode(), headers=headers)


def run_record(run: Run) -> Outgoing:
    """Return the audit record of a run; written when it starts and again, complete, when it ends."""
    value = json.dumps(asdict(run), ensure_ascii=False).encode()
    return Outgoing(topic=REPLAYS.name, key=f"{_RUN_PREFIX}{run.run_id}".encode(), value=value)
