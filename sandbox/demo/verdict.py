"""Pure: which ending an act has come to, and what the whole story adds up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox.demo.story import Act, Ending
from sandbox.demo.watch import Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An act and how the webhook service answered it. ``event`` is the name that the watch follows, if accepted."""

    act: Act
    status_code: int
    answer: str
    event: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The demo's last line. Counts are of distinct events, so a repeat counts once; ``seconds`` spans everything.

    ``accepted`` events got a 2xx; each ends in exactly one of ``uploaded`` and ``dead_lettered``. ``stored`` counts
    rows in webhook_conversions, ``goals_appended`` goal objects found in user_analytics.
    """

    accepted: int
    stored: int
    goals_appended: int
    uploaded: int
    dead_lettered: int
    seconds: float


def ending_of(told: Told, tracks: Mapping[str, Track]) -> Ending | None:
    """Return the ending that ``told`` has come to, or ``None`` while it is on its way."""
    if told.event is None:
        return Ending.REFUSED
    track = tracks.get(told.event)
    if track is None:
        return None
    if track.dead_letter:
        return Ending.DEAD_LETTER
    if track.uploaded:
        return Ending.UPLOADED if told.act.repeats is None else Ending.REPEAT
    return None


def ended_well(story: Sequence[Told], tracks: Mapping[str, Track]) -> bool:
    """Return whether every act came to the ending it must come to, and the repeat to the id of its first telling."""
    by_title = {told.act.title: told for told in story}
    for told in story:
        if ending_of(told, tracks) is not told.act.ending:
            return False
        if told.act.repeats is not None and by_title[told.act.repeats].event != told.event:
            return False
    return True


def summary_of(story: Sequence[Told], tracks: Mapping[str, Track], *, goals_found: int, seconds: float) -> Summary:
    """Add up the story. ``goals_found`` is the number of the story's goal objects in user_analytics."""
    events = {told.event for told in story if told.event is not None}
    seen = [tracks[event] for event in events if event in tracks]
    return Summary(
        accepted=len(events),
        stored=sum("postgres" in track.seen for track in seen),
        goals_appended=goals_found,
        uploaded=sum(track.uploaded for track in seen),
        dead_lettered=sum(track.dead_letter for track in seen),
        seconds=round(seconds, 1),
    )
