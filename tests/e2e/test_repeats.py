"""A sale does not wait for its session, and another amount of it is never silent: seen from outside."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from click.testing import CliRunner

from goalpost.cli import main
from sandbox.pipeline import Pipeline
from tests.e2e.outside import Outside, eventually

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UPLOADED_WITH = ("client_id", "target", "price", "occurred_at", "deadline_at", "upload", "upload_second")


@pytest.fixture
def outside(pipeline: Pipeline) -> Outside:
    return Outside(pipeline)


@pytest.fixture
def ym_uid() -> str:
    return f"{time.time_ns()}"[:19]


def _doubled(outside: Outside) -> int:
    summary = requests.get(f"{outside.pipeline.metrika_api_url}/_control/summary", timeout=20).json()
    return int(summary["doubled_rows"])


def _deliveries(outside: Outside, ym_uid: str) -> list[dict[str, Any]]:
    return [row for row in outside.accepted_rows() if row["ClientId"] == ym_uid]


def _trace(outside: Outside, event_id: str) -> dict[str, Any]:
    settings = outside.pipeline.settings()
    answer = CliRunner().invoke(main, ["trace", "--json", event_id], env=settings, catch_exceptions=False)
    (event,) = json.loads(answer.stdout)["events"]
    return {step["what"]: step for step in event["steps"]}


@pytest.mark.parametrize("names_a_session", [True, False], ids=["unknown session", "visitor alone"])
def test_a_sale_of_an_unknown_session_is_uploaded_within_a_minute_and_its_goal_follows(
    outside: Outside, ym_uid: str, names_a_session: bool
) -> None:
    session = f"late-{uuid.uuid4()}"
    body = {"ym_uid": ym_uid, "goal_name": "deal_won", "goal_value": 10, "order_id": session}
    (event_id,) = outside.convert(body | ({"session_id": session} if names_a_session else {})).json()["event_ids"]
    before = eventually(
        lambda: outside.row(event_id), lambda row: row is not None and row["status"] == "sent", within_seconds=60
    )
    assert before is not None
    assert (before["session_missing"], before["client_id"], before["goal_appended"]) == (True, ym_uid, False)

    outside.visit({"session_id": session, "ym_uid": ym_uid, "yclid": "77"})
    (goal,) = eventually(lambda: outside.goals(session), bool, within_seconds=20)

    assert (goal["event_id"], goal["goal"], goal["value"]) == (event_id, "deal_won", 10)
    after = outside.row(event_id)
    assert after is not None
    assert (after["session_missing"], after["goal_appended"], after["session_id"]) == (False, True, session)
    assert {name: after[name] for name in UPLOADED_WITH} == {name: before[name] for name in UPLOADED_WITH}
    assert len(_deliveries(outside, ym_uid)) == 1
    steps = _trace(outside, event_id)
    assert "its goal was appended then" in after["notes"]
    assert steps["session_came"]["at"] == steps["goal_appended"]["at"]
    assert _doubled(outside) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """How a CRM tells of an order's amount: the body and query for an order, a visitor and an amount."""

    dialect: str
    body: Callable[[str, str, str], bytes]
    query: Callable[[str, str, str], str] = lambda *_: ""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def _as_json(order: str, ym_uid: str, amount: str) -> bytes:
    told = {"ym_uid": ym_uid, "goal_name": "paid", "goal_value": amount, "order_id": order, "currency": "RUB"}
    return json.dumps(told).encode()


def _robot(order: str, ym_uid: str, amount: str) -> str:
    return urlencode({"ym_uid": ym_uid, "goal_name": "paid", "OPPORTUNITY": f"{amount}|RUB", "ID": order})


def _cart(order: str, ym_uid: str, amount: str) -> bytes:
    told = {"ym_uid": ym_uid, "payment[orderid]": order, "payment[amount]": amount, "formid": "form1"}
    return urlencode(told).encode()


def _lead(order: str, ym_uid: str, amount: str) -> bytes:
    """The hook of the stage, and of the change when a manager corrects the price."""
    action = "status" if amount == "3000" else "update"
    lead = {
        "id": order,
        "status_id": "142",
        "pipeline_id": "31",
        "price": amount,
        "old_status_id": "141",
        "last_modified": "1700000000",
        "custom_fields][0][id": "7",
        "custom_fields][0][name": "_ym_uid",
        "custom_fields][0][values][0][value": ym_uid,
    }
    pairs = [(f"leads[{action}][0][{name}]", value) for name, value in lead.items()]
    return urlencode([*pairs, ("account[id]", "90")]).encode()


SENDERS = (
    *(Sender(dialect=dialect, body=_as_json) for dialect in ("generic", "zapier", "make")),
    Sender(
        dialect="bitrix24",
        body=lambda order, *_: urlencode({"document_id[2]": f"DEAL_{order}"}).encode(),
        query=_robot,
        headers=FORM,
    ),
    Sender(dialect="tilda", body=_cart, headers=FORM),
    Sender(dialect="amocrm", body=_lead, headers=FORM),
)


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.dialect)
def test_another_amount_of_an_order_is_told_whoever_sends_it(outside: Outside, sender: Sender, ym_uid: str) -> None:
    outside.visit({"session_id": f"amount-{uuid.uuid4()}", "ym_uid": ym_uid})
    order = str(uuid.uuid4().int)[:9]
    ids = set()
    for amount in ("3000", "5000", "3000", "5000"):
        url = f"{outside.pipeline.enrolment.hooks[sender.dialect]}?{sender.query(order, ym_uid, amount)}"
        answer = requests.post(url, data=sender.body(order, ym_uid, amount), headers=dict(sender.headers), timeout=20)
        assert answer.ok, answer.text
        ids |= set(answer.json()["event_ids"])
    (event_id,) = ids

    row = eventually(
        lambda: outside.row(event_id),
        lambda row: row is not None and row["status"] == "sent" and row["notes"] is not None,
        within_seconds=30,
    )

    assert row is not None
    assert row["price"] == Decimal(3000)
    assert row["notes"].replace(" RUB", "") == "it came again with 5000, and 3000 stands"
    assert _trace(outside, event_id)["amount_changed"]["detail"].startswith(row["notes"])
    assert [delivery["Price"] for delivery in _deliveries(outside, ym_uid)] == ["3000"]
