"""Which dead letters were replayed, by whom and when: an append-only topic that only ``goalpost dlq`` uses.

A mark is written after its letter's effect is acknowledged. A run that dies between the two replays that letter again
next time, which is harmless; it never takes a letter for replayed that was not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from schemas.records import EVENT_ID_HEADER, Incoming, Outgoing, header
from schemas.topics import REPLAYS

_RUN_PREFIX: Final = "run:"
_RUN_HEADER: Final = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The audit line of one executed replay. ``counts`` is empty while it runs, and where it was cut off."""

    run_id: str
    by: str
    started_at: str
    selection: str
    finished_at: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What earlier runs did."""

    replayed: frozenset[str] = frozenset()
    replays_by_event: Mapping[str, int] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()


def mark(place: str, *, event_id: str, run_id: str) -> Outgoing:
    """Return the record that says that the letter at ``place`` was replayed."""
    headers = ((EVENT_ID_HEADER, event_id.encode()), (_RUN_HEADER, run_id.encode()))
    return Outgoing(topic=REPLAYS.name, key=place.encode(), value=b"replayed", headers=headers)


def run_record(run: Run) -> Outgoing:
    """Return the audit record of a run; written when it starts and again, complete, when it ends."""
    value = json.dumps(asdict(run), ensure_ascii=False).encode()
    return Outgoing(topic=REPLAYS.name, key=f"{_RUN_PREFIX}{run.run_id}".encode(), value=value)


def journal_of(records: Iterable[Incoming]) -> Journal:
    """Read the journal from its records, in order."""
    replayed: set[str] = set()
    by_event: Counter[str] = Counter()
    runs: dict[str, Run] = {}
    for record in records:
        key = (record.key or b"").decode("utf-8", "replace")
        if key.startswith(_RUN_PREFIX):
            values: dict[str, Any] = json.loads(record.value or b"{}")
            runs[key] = Run(**values)
        elif key not in replayed:
            replayed.add(key)
            by_event[header(record.headers, EVENT_ID_HEADER) or ""] += 1
    del by_event[""]
    return Journal(replayed=frozenset(replayed), replays_by_event=by_event, runs=tuple(runs.values()))
