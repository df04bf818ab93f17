"""The story as data: what happens on the site and in the CRM, and where each conversion must end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

# The simulator refuses a file that holds this goal, as Metrika refuses one it cannot read.
REFUSED_GOAL: Final = "metrika_refuses"


class Ending(StrEnum):
    """Where an act can end. An accepted event has exactly one ending; a repeat shares that of its first telling."""

    UPLOADED = "uploaded"
    REPEAT = "repeat, nothing changed"
    DEAD_LETTER = "dead letter"
    REFUSED = "refused, the sender was told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A web session that the site reports ``after_seconds`` into the story."""

    session_id: str
    ym_uid: str
    campaign: str
    after_seconds: float = 0.0

    def beacon(self, *, session_at: int) -> bytes:
        """The body that the site's script sends; ``session_at`` is epoch milliseconds."""
        content = {
            "session_id": self.session_id,
            "ym_uid": self.ym_uid,
            "timestamp": session_at,
            "analytics_data": {"ids": {"ym_uid": self.ym_uid}, "utm": {"utm_campaign": self.campaign}},
        }
        return json.dumps(content).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One request that a CRM makes, the ending it must come to, and why."""

    title: str
    body: bytes
    ending: Ending
    why: str
    content_type: str = JSON
    repeats: str | None = None
    stored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Visits and acts, in the order in which they happen."""

    visits: tuple[Visit, ...]
    acts: tuple[Act, ...]

    def visits_due(self, *, earliest: float, before: float) -> Iterator[Visit]:
        """Visits that are reported from ``earliest`` seconds into the story and before ``before``."""
        return (visit for visit in self.visits if earliest <= visit.after_seconds < before)


def _deal(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def tell(tag: str, *, late_seconds: float, metrika_refuses: bool) -> Story:
    """Return the story. ``tag`` keeps one telling apart from the next; ids are made from it.

    ``metrika_refuses`` adds the conversion that only the simulator can be made to refuse.
    """
    paid, returning, late = f"session-{tag}-paid", f"session-{tag}-returning", f"session-{tag}-late"
    visitors = {name: f"17{tag}{place}" for place, name in enumerate((paid, returning, late), start=1)}
    first_title = "A deal is paid; the CRM knows the session id"
    first_deal = _deal(
        session_id=paid, goal_name="payment_success", goal_value=5000, order_id=f"{tag}-1", event_id=f"{tag}-1"
    )
    acts = [
        Act(
            title=first_title,
            body=first_deal,
            ending=Ending.UPLOADED,
            why="joined by session id, stored, goal appended, uploaded",
            stored=True,
        ),
        Act(
            title="A deal is paid; the CRM knows only the visitor (ym_uid)",
            body=_deal(ym_uid=visitors[returning], goal_name="payment_success", goal_value="12 500,50", currency="RUB"),
            ending=Ending.UPLOADED,
            why="joined with the visitor's last session",
            stored=True,
        ),
        Act(
            title="The CRM repeats the first deal",
            body=first_deal,
            ending=Ending.REPEAT,
            why="same event id: every effect is idempotent",
            repeats=first_title,
        ),
        Act(
            title="A deal arrives before its session does",
            body=_deal(session_id=late, goal_name="lead_qualified", goal_value=700, order_id=f"{tag}-4"),
            ending=Ending.UPLOADED,
            why="waited in crm.events.waiting until the session came",
            stored=True,
        ),
        Act(
            title="A deal whose session never comes",
            body=_deal(session_id=f"session-{tag}-nobody", goal_name="payment_success", order_id=f"{tag}-5"),
            ending=Ending.DEAD_LETTER,
            why="session_not_found after all delays; `goalpost dlq replay` brings it back once the session is known",
        ),
        Act(
            title="A body that is not JSON",
            body=b'{"session_id": "broken", goal_value: 1',
            ending=Ending.REFUSED,
            why="HTTP 400 names the position; nothing was accepted",
        ),
        Act(
            title="A form from the CRM that makes no sense",
            body=b"session_id=" + paid.encode() + b"&goal_value=a+lot",
            content_type=FORM,
            ending=Ending.DEAD_LETTER,
            why="kept in crm.events.rejected and answered 200: CRMs switch hooks off that answer errors",
        ),
    ]
    if metrika_refuses:
        acts.append(
            Act(
                title="A conversion that Metrika refuses",
                body=_deal(session_id=paid, goal_name=REFUSED_GOAL, goal_value=1, order_id=f"{tag}-8"),
                ending=Ending.DEAD_LETTER,
                why="Metrika answered 400; found by halving the file, the other rows went through",
                stored=True,
            )
        )
    visits = (
        Visit(session_id=paid, ym_uid=visitors[paid], campaign="autumn"),
        Visit(session_id=returning, ym_uid=visitors[returning], campaign="brand"),
        Visit(session_id=late, ym_uid=visitors[late], campaign="autumn", after_seconds=late_seconds),
    )
    return Story(visits=visits, acts=tuple(acts))
