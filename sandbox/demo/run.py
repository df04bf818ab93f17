"""Tells the story through the real webhook service and watches it until every conversion has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
import requests

from sandbox.demo.screen import Screen
from sandbox.demo.story import Act, Story, Visit
from sandbox.demo.verdict import Summary, Told, ended_well, ending_of, summary_of
from sandbox.demo.watch import Track, Watch, body_name

# Far beyond what any ending needs with the demo's short delays; reaching it means that something is stuck.
_PATIENCE_SECONDS: Final = 60.0
_SECONDS: Final = 10

_GOALS: Final = """
    SELECT count(*) FROM user_analytics,
        jsonb_array_elements(analytics_data #> '{target_actions,yandex_goals_triggered}') AS goal
    WHERE goal ->> 'event_id' = ANY(%s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The webhook service as a CRM and a site see it."""

    url: str
    webhook_secret: str
    sessions_write_key: str

    def report(self, visit: Visit) -> None:
        """Send a session, as the site's script does."""
        answer = requests.post(
            f"{self.url}/sessions",
            data=visit.beacon(session_at=int(time.time() * 1000)),
            headers={"Content-Type": "application/json", "X-Write-Key": self.sessions_write_key},
            timeout=_SECONDS,
        )
        answer.raise_for_status()

    def perform(self, act: Act) -> Told:
        """Send a conversion, as a CRM does."""
        answer = requests.post(
            f"{self.url}/functions/v1/crm-conversion-hook",
            data=act.body,
            headers={"Content-Type": act.content_type, "Authorization": f"Bearer {self.webhook_secret}"},
            timeout=_SECONDS,
        )
        return Told(act=act, status_code=answer.status_code, answer=answer.text, event=_event(act, answer))


def _event(act: Act, answer: requests.Response) -> str | None:
    if not answer.ok:
        return None
    events = answer.json()["event_ids"]
    return str(events[0]) if events else body_name(act.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The story after its end."""

    story: Sequence[Told]
    tracks: Mapping[str, Track]
    summary: Summary
    well: bool


def run(story: Story, *, door: Door, watch: Watch, screen: Screen, database_url: str, began: float) -> Ended:
    """Tell ``story`` and return how it ended. ``began`` is the monotonic time from which ``seconds`` counts."""
    told: list[Told] = []
    reported = 0.0
    for visit in story.visits_due(earliest=0.0, before=0.001):
        door.report(visit)
    for act in story.acts:
        told.append(door.perform(act))
        screen.answered(told[-1])
    deadline = watch.elapsed() + _PATIENCE_SECONDS
    while watch.elapsed() < deadline and any(ending_of(part, watch.tracks) is None for part in told):
        now = watch.elapsed()
        for visit in story.visits_due(earliest=max(reported, 0.001), before=now):
            door.report(visit)
        reported = now
        screen.show(told, watch.tracks, watch.look(0.1))
    goals = _goals_found(database_url, [part.event for part in told if part.event])
    summary = summary_of(told, watch.tracks, goals_found=goals, seconds=time.monotonic() - began)
    return Ended(story=told, tracks=watch.tracks, summary=summary, well=ended_well(told, watch.tracks))


def _goals_found(database_url: str, events: Sequence[str]) -> int:
    with psycopg.connect(database_url) as database:
        row = database.execute(_GOALS, (list(events),)).fetchone()
    return int(row[0]) if row else 0
