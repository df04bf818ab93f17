"""What flows in a round: events and their sessions, each at its time, all from one random source. Pure."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Final

# Of a hundred events: what their session does. That of "soon" comes while the event waits, that of "late" when all
# waiting is over; "visitor" names no session, only who it was; "ahead" names both, and its session comes at any time.
_SHARES: Final = {"before": 50, "soon": 17, "ahead": 8, "late": 7, "never": 5, "visitor": 10, "poison": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A session to be written."""

    session_id: str
    ym_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An event to be written, and the sessions that it may be joined with. ``poison`` is no Avro."""

    event_id: str
    session_id: str | None = None
    ym_uid: str | None = None
    sessions: tuple[str, ...] = ()
    poison: bool = False


Arrival = tuple[float, Visit | Report]


def traffic(
    choice: random.Random, *, seconds: float, rate_per_s: float, waiting_seconds: float, poison: bool
) -> list[Arrival]:
    """Return what is written when, in seconds from the beginning, in order.

    ``waiting_seconds`` is how long an event waits at most. Without ``poison`` everything can be decoded.
    """
    shares = {kind: share for kind, share in _SHARES.items() if poison or kind != "poison"}
    kinds = choice.choices([*shares], [*shares.values()], k=round(seconds * rate_per_s))
    arrivals: list[Arrival] = []
    for number, kind in enumerate(kinds):
        arrivals += _one(choice, kind, number / rate_per_s, waiting_seconds)
    return sorted((arrival for arrival in arrivals if arrival[0] <= seconds), key=lambda arrival: arrival[0])


def _one(choice: random.Random, kind: str, at: float, waiting_seconds: float) -> list[Arrival]:
    """One event and its sessions."""
    event_id = str(uuid.UUID(int=choice.getrandbits(128), version=4))
    visit = Visit(session_id=event_id, ym_uid=f"{choice.getrandbits(62)}")
    named = Report(event_id=event_id, session_id=visit.session_id, sessions=(visit.session_id,))
    match kind:
        case "before":
            return [(max(0.0, at - choice.uniform(0.1, 5)), visit), (at, named)]
        case "soon":
            return [(at, named), (at + choice.uniform(0.01, 2), visit)]
        case "ahead":
            report = Report(
                event_id=event_id, session_id=visit.session_id, ym_uid=visit.ym_uid, sessions=(visit.session_id,)
            )
            return [(at, report), (at + waiting_seconds * choice.uniform(0, 1.5), visit)]
        case "late":
            return [(at, named), (at + waiting_seconds * choice.uniform(2, 3), visit)]
        case "never":
            # With an id of its own it is converted without a session, else it becomes a dead letter.
            ym_uid = choice.choice([None, visit.ym_uid])
            return [(at, Report(event_id=event_id, session_id=visit.session_id, ym_uid=ym_uid))]
        case "visitor":
            again = Visit(session_id=f"{event_id}-again", ym_uid=visit.ym_uid)
            both = (visit.session_id, again.session_id)
            report = Report(event_id=event_id, ym_uid=visit.ym_uid, sessions=both)
            return [(max(0.0, at - 4), visit), (max(0.0, at - 2), again), (at, report)]
        case _:
            return [(at, Report(event_id=event_id, session_id=visit.session_id, poison=True))]
