"""Requests that people who do this job have reported to go wrong elsewhere: each has one right meaning."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from sandbox.pipeline import Pipeline
from tests.e2e.outside import Outside, eventually

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
DEAL = b"document_id%5B2%5D=DEAL_771"

NOW = datetime.now(UTC).replace(microsecond=0)
MOSCOW = NOW + timedelta(hours=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A request to the webhook of ``dialect`` after the site has told the visitor's session, and what is right.

    ``body`` and ``query`` are made for the visitor's id. ``stored`` is what every row says of the ``count`` conversions
    that come of it; with ``None`` nobody's conversion comes of it.
    """

    name: str
    dialect: str
    body: Callable[[str], bytes]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    query: Callable[[str], str] = lambda _: ""
    path: str = "{}"
    statuses: tuple[int, ...] = (202,)
    stored: Mapping[str, Any] | None = None
    count: int = 1


def _js(**values: Any) -> Callable[[str], bytes]:
    return lambda ym_uid: json.dumps({"ym_uid": ym_uid, "goal_name": "paid", **values}).encode()


def _lead(action: str, number: int, ym_uid: str, **more: str) -> bytes:
    place = f"leads[{action}][0]"
    lead = {"id": str(number), "status_id": "142", "pipeline_id": "31", "price": "3000", **more}
    own = {"[id]": "7", "[name]": "_ym_uid", "[values][0][value]": ym_uid}
    pairs = [(f"{place}[{name}]", value) for name, value in lead.items()]
    pairs += [(f"{place}[custom_fields][0]{name}", value) for name, value in own.items()]
    return urlencode([*pairs, ("account[id]", "90")]).encode()


REPORTS = (
    Report(
        name="a ClientID that JavaScript has rounded is nobody's",
        dialect="generic",
        body=lambda _: b'{"ym_uid": 1739204418275519700, "goal_name": "rounded", "order_id": "r1"}',
        statuses=(400, 200),
    ),
    Report(
        name="a robot's time without an offset is the portal's",
        dialect="bitrix24",
        body=lambda _: DEAL,
        headers=FORM,
        query=lambda ym_uid: urlencode(
            {"ym_uid": ym_uid, "goal_name": "won", "goal_value": "1500", "MOVED_TIME": f"{MOSCOW:%d.%m.%Y %H:%M:%S}"}
        ),
        stored={"target": "won", "price": Decimal(1500), "occurred_at": NOW},
    ),
    Report(
        name="a time with an offset is that moment",
        dialect="generic",
        body=_js(order_id="r2", occurred_at=f"{MOSCOW:%Y-%m-%dT%H:%M:%S}+03:00"),
        stored={"occurred_at": NOW},
    ),
    Report(
        name="RUR is the rouble",
        dialect="generic",
        body=_js(goal_value=2500, currency="RUR", order_id="r3"),
        stored={"price": Decimal(2500), "currency": "RUB"},
    ),
    Report(
        name="a move that only the hook of changes tells is a move",
        dialect="amocrm",
        body=lambda ym_uid: _lead("update", 8801, ym_uid, last_modified=f"{NOW.timestamp():.0f}", old_status_id="141"),
        headers=FORM,
        stored={"price": Decimal(3000)},
    ),
    Report(
        name="leads in the form of the API are kept",
        dialect="amocrm",
        body=lambda _: b'{"leads": [{"id": 8802, "status_id": 142, "price": 10}]}',
        statuses=(200,),
    ),
    Report(
        name="JSON that a form carries as the name of a field is that JSON",
        dialect="make",
        body=lambda ym_uid: urlencode({_js(goal_value=700, order_id="r4")(ym_uid): ""}).encode(),
        headers=FORM,
        stored={"price": Decimal(700)},
    ),
    Report(
        name="money as Bitrix24 writes it is money in every dialect",
        dialect="zapier",
        body=_js(goal_value="1250.00|RUB", order_id="r5"),
        stored={"price": Decimal(1250), "currency": "RUB"},
    ),
    Report(
        name="money with spaces and a comma is money",
        dialect="bitrix24",
        body=lambda _: DEAL.replace(b"771", b"772"),
        headers=FORM,
        query=lambda ym_uid: urlencode({"ym_uid": ym_uid, "goal_name": "won", "OPPORTUNITY": "1 250,50|RUB"}),
        stored={"price": Decimal("1250.5"), "currency": "RUB"},
    ),
    Report(
        name="every member of a gzip body counts",
        dialect="amocrm",
        body=lambda ym_uid: b"".join(
            gzip.compress(part) for part in (_lead("status", 8803, ym_uid) + b"&", _lead("add", 8804, ym_uid))
        ),
        headers={**FORM, "Content-Encoding": "gzip"},
        stored={"price": Decimal(3000)},
        count=2,
    ),
    Report(
        name="an invisible character is no part of an id",
        dialect="zapier",
        body=lambda ym_uid: _js(goal_value=5, order_id="r6")(f"\u200b{ym_uid}"),
        stored={"price": Decimal(5)},
    ),
    Report(
        name="an address that was joined with two slashes is that address",
        dialect="amocrm",
        path="/{}",
        body=lambda ym_uid: _lead("status", 8805, ym_uid),
        headers=FORM,
        stored={"price": Decimal(3000)},
    ),
    Report(
        name="a shop's ping is no conversion",
        dialect="zapier",
        body=lambda _: b"webhook_id=5",
        headers=FORM,
        statuses=(200,),
    ),
)


@pytest.fixture
def outside(pipeline: Pipeline) -> Outside:
    return Outside(pipeline)


@pytest.fixture
def ym_uid(outside: Outside) -> str:
    """A visitor whose session is known."""
    made = f"{time.time_ns()}"[:19]
    outside.visit({"session_id": f"reported-{uuid.uuid4()}", "ym_uid": made})
    return made


def _sent(outside: Outside, report: Report, ym_uid: str) -> requests.Response:
    base, slash, rest = outside.pipeline.enrolment.hooks[report.dialect].partition("/hooks/")
    url = f"{base}{report.path.format(slash + rest)}?{report.query(ym_uid)}"
    return requests.post(url, data=report.body(ym_uid), headers=dict(report.headers), timeout=20)


def _rows(outside: Outside, event_ids: list[str]) -> list[dict[str, Any]]:
    return outside.query("SELECT * FROM webhook_conversions WHERE id = ANY(%s::uuid[])", event_ids)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_what_was_reported_has_its_right_meaning(outside: Outside, report: Report, ym_uid: str) -> None:
    answer = _sent(outside, report, ym_uid)
    assert answer.status_code in report.statuses, answer.text
    event_ids = answer.json().get("event_ids", [])
    if report.stored is None:
        assert event_ids == []
        return
    wanted = {"client_id": ym_uid, "session_missing": False, "status": "sent", **report.stored}

    rows = eventually(
        lambda: _rows(outside, event_ids),
        lambda rows: [row["status"] for row in rows] == ["sent"] * report.count,
        within_seconds=20,
    )

    assert [{name: row[name] for name in wanted} for row in rows] == [wanted] * report.count


def test_ids_in_jsonb_that_holds_json_as_text_are_found(outside: Outside, ym_uid: str) -> None:
    session = f"text-{uuid.uuid4()}"
    analytics = json.dumps({"ids": {"ym_uid": ym_uid}, "page": "/x"})
    answer = _told_by_supabase(outside, "INSERT", session, analytics)
    assert answer.status_code == 202

    assert _converted(outside, session)["client_id"] == ym_uid


def test_an_update_of_a_large_row_is_taken(outside: Outside, ym_uid: str) -> None:
    session = f"large-{uuid.uuid4()}"
    answer = _told_by_supabase(outside, "UPDATE", session, {"ids": {"ym_uid": ym_uid}, "trail": "x" * 4_000_000})
    assert answer.status_code == 202

    assert _converted(outside, session)["client_id"] == ym_uid


def test_a_database_webhook_that_was_left_at_get_is_told_so(outside: Outside) -> None:
    key = {"X-Write-Key": outside.pipeline.credentials.sessions_write_key}
    assert requests.get(f"{outside.pipeline.webhook_url}/sessions/supabase", headers=key, timeout=20).status_code == 405


def test_another_amount_of_the_same_order_is_told_and_counted_once(outside: Outside, ym_uid: str) -> None:
    hook = outside.pipeline.enrolment.hooks["zapier"]
    order = f"order-{uuid.uuid4()}"
    ids = {
        requests.post(hook, data=_js(goal_value=amount, order_id=order)(ym_uid), headers=JSON, timeout=20).json()[
            "event_ids"
        ][0]
        for amount in ("3000", "5000")
    }
    assert len(ids) == 1

    (row,) = eventually(
        lambda: _rows(outside, list(ids)),
        lambda rows: bool(rows) and "5000" in (rows[0]["notes"] or "") and rows[0]["status"] == "sent",
        within_seconds=20,
    )

    assert row["price"] == Decimal(3000)


def _told_by_supabase(outside: Outside, kind: str, session: str, analytics_data: object) -> requests.Response:
    record = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, session)),
        "session_id": session,
        "analytics_data": analytics_data,
        "timestamp": f"{NOW:%Y-%m-%dT%H:%M:%S}+00:00",
    }
    body = {
        "type": kind,
        "table": "user_analytics",
        "schema": "public",
        "record": record,
        "old_record": record if kind == "UPDATE" else None,
    }
    return requests.post(
        f"{outside.pipeline.webhook_url}/sessions/supabase",
        json=body,
        headers={"X-Write-Key": outside.pipeline.credentials.sessions_write_key},
        timeout=30,
    )


def _converted(outside: Outside, session: str) -> dict[str, Any]:
    (event_id,) = outside.convert({"session_id": session, "goal_name": "paid"}).json()["event_ids"]
    row = eventually(
        lambda: outside.row(event_id), lambda row: row is not None and row["status"] == "sent", within_seconds=20
    )
    assert row is not None
    return row
