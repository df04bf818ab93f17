"""The law of rows that goalpost creates: the order in which sessions and conversions arrive does not matter.

row = the newest session record, its own goals, then the goals of the row's conversions in the order of storing
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.stack import Addresses
from schemas.events import Conversion, Session
from sinks.postgres.connection import BadData, Connection
from sinks.postgres.rows import session_row
from sinks.postgres.writer import Writer
from tests.sink_material import (
    AT,
    Registered,
    analytics_row,
    conversion,
    fresh_database,
    opened,
    placed,
    register_webhook,
    session,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A writer on a database of its own."""

    connection: Connection
    registered: Registered
    writer: Writer


@pytest.fixture(scope="module")
def desk(stack: Addresses) -> Iterator[Desk]:
    with fresh_database(stack.database_url) as url, opened(url) as connection:
        yield Desk(connection=connection, registered=register_webhook(connection), writer=Writer(connection))


Step = Session | Conversion

own_goals = st.lists(
    st.sampled_from(
        [
            {"goal": "scroll"},
            {"goal": "form", "source": "site", "event_id": "x"},
            {"goal": "older crm goal", "source": "crm_offline"},
            {"goal": "sent back", "source": "crm_offline", "event_id": "copy"},
            "text",
            None,
        ]
    ),
    max_size=3,
)
actions = st.one_of(
    st.sampled_from(
        [None, "text", [1], {}, {"clicks": 1, "conversion_flag": False}, {"yandex_goals_triggered": "none"}]
    ),
    own_goals.map(lambda listed: {"yandex_goals_triggered": listed, "clicks": 2}),
)
contents: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, 7, [], {}]),
    st.fixed_dictionaries({"ids": st.sampled_from([{"ym_uid": "1"}, {"ym_uid": "2"}]), "target_actions": actions}),
)
sessions = st.builds(
    lambda data, visit, received: session(
        "row",
        data,
        session_id="session of row",
        last_visit_at=AT + visit,
        received_at=AT + received,
        session_at=AT + received,
    ),
    contents,
    st.integers(0, 2),
    st.integers(0, 2),
)
conversions = st.builds(
    lambda shift: conversion(creates_row=True, session_id="session of row", session_at=AT, occurred_at=AT + shift),
    st.integers(0, 3),
)
batches = st.lists(st.lists(st.one_of(sessions, conversions), max_size=4), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches, repeats=st.lists(st.integers(0, 3), max_size=3))
def test_the_row_follows_the_law_in_every_order_and_after_every_repeat(
    desk: Desk, batches: list[list[Step]], repeats: list[int]
) -> None:
    row_id = str(uuid.uuid4())
    steps = [[_of(desk, step, row_id) for step in batch] for batch in batches]
    for batch in steps + [steps[number % len(steps)] for number in repeats]:
        desk.writer.write(
            placed(*(step for step in batch if isinstance(step, Conversion))),
            [step for step in batch if isinstance(step, Session)],
        )
    assert analytics_row(desk.connection, row_id) == _expected(steps, row_id)


def _of(desk: Desk, step: Step, row_id: str) -> Step:
    """The step for this run's row; an id is drawn anew for every run, as the database keeps all."""
    if isinstance(step, Session):
        return replace(step, row_id=row_id)
    return replace(
        step,
        row_id=row_id,
        event_id=str(uuid.uuid4()),
        webhook_id=desk.registered.webhook_id,
        counter_id=desk.registered.counter_id,
    )


def _expected(batches: list[list[Step]], row_id: str) -> dict[str, Any] | None:
    """The same law in Python, from the whole story instead of step by step."""
    beacons = [step for batch in batches for step in batch if isinstance(step, Session)]
    appended: list[dict[str, Any]] = []
    for batch in batches:
        events = [step for step in batch if isinstance(step, Conversion)]
        appended += [_goal(one) for one in sorted(events, key=lambda one: (one.occurred_at, one.event_id))]
    if not beacons and not appended:
        return None
    if not beacons:
        return _row("session of row", AT, _with(None, appended))
    rows = [(session_row(beacon, row_id), beacon) for beacon in beacons]
    _, newest = max(rows, key=lambda pair: (pair[0].last_visit_at, pair[0].received_at, pair[0].digest))
    assert newest.analytics_data is not None
    return _row(newest.session_id, newest.session_at, _with(_stripped(json.loads(newest.analytics_data)), appended))


def _row(session_id: str, at: int, data: Any) -> dict[str, Any]:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    return {"session_id": session_id, "timestamp": moment, "analytics_data": data}


def _goal(event: Conversion) -> dict[str, Any]:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=event.occurred_at)
    return {
        "goal": "payment_success",
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "value": 5000,
        "source": "crm_offline",
        "event_id": event.event_id,
    }


def _is_copy(goal: Any) -> bool:
    return isinstance(goal, dict) and goal.get("source") == "crm_offline" and "event_id" in goal


def _stripped(data: Any) -> Any:
    match data:
        case {"target_actions": {"yandex_goals_triggered": [*listed], **others}, **rest}:
            kept = [goal for goal in listed if not _is_copy(goal)]
            return {**rest, "target_actions": {**others, "yandex_goals_triggered": kept}}
    return data


def _with(data: Any, appended: list[dict[str, Any]]) -> Any:
    if not appended:
        return data
    content = dict(data) if isinstance(data, dict) else {} if data is None else {"analytics_data_before": data}
    found = content.get("target_actions")
    target = dict(found) if isinstance(found, dict) else {}
    if found is not None and not isinstance(found, dict):
        content["target_actions_before"] = found
    listed = target.get("yandex_goals_triggered")
    if listed is not None and not isinstance(listed, list):
        target["yandex_goals_triggered_before"] = listed
        listed = None
    target |= {"yandex_goals_triggered": [*(listed or []), *appended], "conversion_flag": True}
    return {**content, "target_actions": target}


def test_two_records_of_one_moment_end_in_the_same_row_in_either_order(desk: Desk) -> None:
    ends = []
    for order in (1, -1):
        row_id = str(uuid.uuid4())
        for data in [{"a": 1}, {"b": 2}][::order]:
            desk.writer.write([], [session(row_id, data, session_id="one")])
        ends.append(analytics_row(desk.connection, row_id))
    assert ends[0] == ends[1]


def test_a_session_whose_id_the_table_cannot_hold_is_refused(desk: Desk) -> None:
    with pytest.raises(BadData, match="uuid"):
        desk.writer.write([], [session("no uuid")])
