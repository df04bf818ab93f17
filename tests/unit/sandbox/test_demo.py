"""The demo says that all went well only when it did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.demo.story import Act, Ending, tell
from sandbox.demo.verdict import Told, ended_well, ending_of, summary_of
from sandbox.demo.watch import Track

_STORY = tell("123", late_seconds=1, metrika_refuses=True)


def _told(act: Act, number: int) -> Told:
    if act.ending is Ending.REFUSED:
        return Told(act=act, status_code=400, answer="", event=None)
    first = 0 if act.repeats else number
    return Told(act=act, status_code=202, answer="", event=f"event-{first}")


def _track(act: Act) -> Track:
    places = {"postgres": 1.0} if act.stored else {}
    if act.ending is Ending.DEAD_LETTER:
        return Track(seen=places | {"crm.events.raw.dlq": 2.0}, status="error" if act.stored else None)
    return Track(seen=places, status="sent")


_TOLD = [_told(act, number) for number, act in enumerate(_STORY.acts)]
_TRACKS = {told.event: _track(told.act) for told in _TOLD if told.event and not told.act.repeats}


def test_a_story_that_went_as_told_ended_well_and_adds_up() -> None:
    assert ended_well(_TOLD, _TRACKS)
    summary = summary_of(_TOLD, _TRACKS, goals_found=4, seconds=1)
    assert (summary.accepted, summary.stored, summary.uploaded, summary.dead_lettered) == (6, 4, 3, 3)
    assert summary.accepted == summary.uploaded + summary.dead_lettered


@pytest.mark.parametrize("event", sorted(_TRACKS))
def test_one_event_on_its_way_or_gone_astray_is_noticed(event: str) -> None:
    assert not ended_well(_TOLD, {**_TRACKS, event: Track()})
    assert not ended_well(_TOLD, {name: track for name, track in _TRACKS.items() if name != event})
    opposite = Track(status="sent") if _TRACKS[event].dead_letter else Track(seen={"crm.events.raw.dlq": 1.0})
    assert not ended_well(_TOLD, {**_TRACKS, event: opposite})


def test_a_repeat_under_another_id_is_a_double_and_noticed() -> None:
    told = [replace(part, event="event-new") if part.act.repeats else part for part in _TOLD]
    assert not ended_well(told, {**_TRACKS, "event-new": Track(status="sent")})


def test_an_act_without_a_sighting_has_no_ending_yet() -> None:
    assert ending_of(_TOLD[0], {}) is None
