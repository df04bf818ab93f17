"""One event's journey, seen from outside."""

from __future__ import annotations

import time
import uuid

import pytest

from sandbox.pipeline import Pipeline
from tests.e2e.outside import Outside, eventually


@pytest.fixture
def outside(pipeline: Pipeline) -> Outside:
    return Outside(pipeline)


def test_the_seeds_json_is_stored_uploaded_and_in_user_analytics_within_three_seconds(outside: Outside) -> None:
    session = f"session-{uuid.uuid4()}"
    ym_uid = str(time.time_ns())[:18]
    outside.visit({"session_id": session, "ym_uid": ym_uid, "analytics_data": {"page": "/"}})
    body = {"session_id": session, "goal_name": "payment_success", "goal_value": 5000, "event_id": session}
    answer = outside.convert(body)
    assert answer.status_code == 202
    (event_id,) = answer.json()["event_ids"]

    row = eventually(
        lambda: outside.row(event_id), lambda row: row is not None and row["status"] == "sent", within_seconds=3
    )

    assert row is not None
    assert row["metrika_upload_id"]
    assert row["client_id"] == ym_uid
    (goal,) = outside.goals(session)
    assert goal == {
        "goal": "payment_success",
        "timestamp": goal["timestamp"],
        "value": 5000,
        "source": "crm_offline",
        "event_id": event_id,
    }
    (content,) = outside.query("SELECT analytics_data FROM user_analytics WHERE session_id = %s", session)
    assert content["analytics_data"]["page"] == "/"
    assert content["analytics_data"]["target_actions"]["conversion_flag"] is True


def test_the_same_event_id_again_changes_nothing(outside: Outside) -> None:
    session = f"session-{uuid.uuid4()}"
    outside.visit({"session_id": session, "ym_uid": str(time.time_ns())[:18]})
    body = {"session_id": session, "goal_name": f"goal_{uuid.uuid4().hex}", "goal_value": 1, "event_id": "once"}
    body["event_id"] = session
    first = outside.convert(body).json()["event_ids"]
    before = eventually(
        lambda: outside.row(first[0]), lambda row: row is not None and row["status"] == "sent", within_seconds=10
    )

    again = [outside.convert(body).json()["event_ids"] for _ in range(3)]
    marker_session = f"session-{uuid.uuid4()}"
    marker = outside.convert({"session_id": session, "goal_name": body["goal_name"], "event_id": marker_session})
    (marker_id,) = marker.json()["event_ids"]
    # The marker shares the repeats' key, so once it is uploaded they have gone the same way.
    eventually(
        lambda: outside.row(marker_id), lambda row: row is not None and row["status"] == "sent", within_seconds=10
    )

    assert again == [first] * 3
    assert before is not None
    after = outside.row(first[0])
    assert after is not None
    assert {**after, "updated_at": None, "stage": None} == {**before, "updated_at": None, "stage": None}
    assert [goal["event_id"] for goal in outside.goals(session)] == [first[0], marker_id]
    uploaded = [row for row in outside.accepted_rows() if row["Target"] == body["goal_name"]]
    assert len(uploaded) == 2


def test_neither_secrets_nor_visitors_appear_in_any_log(outside: Outside, pipeline: Pipeline) -> None:
    session, ym_uid = f"session-{uuid.uuid4()}", str(time.time_ns())[:18]
    outside.visit({"session_id": session, "ym_uid": ym_uid, "analytics_data": {"email": f"{ym_uid}@example.com"}})
    (event_id,) = outside.convert(
        {"session_id": session, "ym_uid": ym_uid, "phone": f"+7{ym_uid}", "goal_name": "payment_success"}
    ).json()["event_ids"]
    outside.convert({"session_id": f"nobody-{ym_uid}"})
    outside.convert({"session_id": session, "goal_value": f"bad {ym_uid}"})
    eventually(
        lambda: outside.row(event_id), lambda row: row is not None and row["status"] == "sent", within_seconds=10
    )

    private = [
        ym_uid,
        pipeline.credentials.webhook_secret,
        pipeline.credentials.sessions_write_key,
        pipeline.credentials.secret_key,
    ]
    logs = {path.name: path.read_text(errors="replace") for path in (pipeline.home / "logs").glob("*.log")}
    own = {name: text for name, text in logs.items() if name.startswith(("webhook", "stream", "sink"))}
    assert own
    assert [(name, value) for name, text in own.items() for value in private if value in text] == []
