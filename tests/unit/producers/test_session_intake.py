"""Session intake: what the site's script and Supabase report, as records of web.sessions."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fields import BadField
from producers.intake import beacon, change, session_records
from schemas.events import Session
from schemas.identity import row_id_for
from tests.unit.producers.parts import NOW_MS, SESSION_CODEC, WRITE_KEY, Service

KEY = {"X-Write-Key": WRITE_KEY}
ROW_ID = "0b7c3f0e-51c2-4c7f-8f39-1c1b1f5a7e11"
ROW = {
    "id": ROW_ID,
    "session_id": "s1",
    "analytics_data": {"ids": {"ym_uid": "1666707227246044402", "yclid": 16064509312686620671}, "page": "/"},
    "timestamp": "2026-03-01T12:30:00.123456+00:00",
}


def row_change(kind: str = "INSERT", **row: Any) -> dict[str, Any]:
    values = {**ROW, **row}
    gone = kind == "DELETE"
    return {
        "type": kind,
        "table": "user_analytics",
        "schema": "public",
        "record": None if gone else values,
        "old_record": values if gone else None,
    }


@pytest.fixture
def service() -> Service:
    return Service(origins=("https://shop.example",))


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as connected:
        yield connected


async def test_a_beacon_becomes_the_session_and_its_visitors_last_session(
    service: Service, client: httpx.AsyncClient
) -> None:
    answer = await client.post("/sessions", json={"session_id": "s1", "ym_uid": "5", "page": "/"}, headers=KEY)
    assert (answer.status_code, answer.json()) == (202, {"success": True, "sessions": 1})
    (session_key, session), (visitor_key, visitor) = service.publisher.sessions
    assert (session_key, visitor_key) == (b"s:s1", b"u:5")
    assert session is not None
    assert visitor is not None
    assert (session.row_id, session.creates_row) == (row_id_for("s1"), True)
    assert orjson.loads(session.analytics_data or "") == {"page": "/", "ids": {"ym_uid": "5"}}
    assert visitor.analytics_data is None
    assert (session.session_at, session.last_visit_at, session.received_at) == (NOW_MS, NOW_MS, NOW_MS)


async def test_a_beacon_of_the_browser_needs_no_headers(service: Service, client: httpx.AsyncClient) -> None:
    answer = await client.post(
        f"/sessions?write_key={WRITE_KEY}", content=b'{"session_id": "s1"}', headers={"Content-Type": "text/plain"}
    )
    assert (answer.status_code, len(service.publisher.sessions)) == (202, 1)


async def test_an_array_is_taken_whole_or_not_at_all(service: Service, client: httpx.AsyncClient) -> None:
    answer = await client.post("/sessions", json=[{"session_id": "a"}, {"session_id": "b"}], headers=KEY)
    assert answer.json()["sessions"] == 2
    before = len(service.publisher.records)
    answer = await client.post("/sessions", json=[{"session_id": "a"}, {"ym_uid": "x"}], headers=KEY)
    assert (answer.status_code, answer.json()["field"]) == (400, "[1].session_id")
    assert len(service.publisher.records) == before


def test_ids_are_found_in_analytics_data_and_the_given_ones_win() -> None:
    nested = {"ids": {"ym_uid": "1", "yclid": "2"}}
    session = beacon({"session_id": "s", "ym_uid": "9", "analytics_data": nested}, received_at=NOW_MS)
    assert (session.ym_uid, session.yclid) == ("9", "2")
    assert orjson.loads(session.analytics_data or "")["ids"] == {"ym_uid": "1", "yclid": "2"}


def test_unknown_fields_become_content_without_displacing_it() -> None:
    session = beacon({"session_id": "s", "page": "new", "analytics_data": {"page": "own"}, "n": 1}, received_at=NOW_MS)
    assert orjson.loads(session.analytics_data or "") == {"page": "own", "n": 1}


def test_a_clock_that_is_ahead_counts_as_now_and_activity_is_not_before_the_session() -> None:
    ahead = beacon({"session_id": "s", "timestamp": NOW_MS + 86_400_000}, received_at=NOW_MS)
    assert (ahead.session_at, ahead.last_visit_at) == (NOW_MS, NOW_MS)
    earlier = beacon(
        {"session_id": "s", "timestamp": NOW_MS - 1000, "last_visit_at": NOW_MS - 5000}, received_at=NOW_MS
    )
    assert (earlier.session_at, earlier.last_visit_at) == (NOW_MS - 1000, NOW_MS - 1000)


def test_a_given_row_id_is_used() -> None:
    assert beacon({"session_id": "s", "id": ROW_ID.upper()}, received_at=NOW_MS).row_id == ROW_ID


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "session_id"),
        ({"session_id": 1.5}, "session_id"),
        ({"session_id": "s", "ym_uid": "x"}, "ym_uid"),
        ({"session_id": "s", "analytics_data": {"ids": {"ym_uid": "x"}}}, "analytics_data.ids.ym_uid"),
        ({"session_id": "s", "analytics_data": "{}"}, "analytics_data"),
        ({"session_id": "s", "id": "7"}, "id"),
        ({"session_id": "s", "timestamp": "soon"}, "timestamp"),
        ([], "body"),
    ],
)
def test_a_beacon_that_cannot_be_used_names_the_field(values: object, field: str) -> None:
    with pytest.raises(BadField) as refused:
        beacon(values, received_at=NOW_MS)
    assert refused.value.field == field


@pytest.mark.parametrize("kind", ["INSERT", "UPDATE"])
async def test_a_row_of_supabase_is_known_but_stays_supabases(
    service: Service, client: httpx.AsyncClient, kind: str
) -> None:
    answer = await client.post("/sessions/supabase", json=row_change(kind), headers=KEY)
    assert (answer.status_code, answer.json()) == (202, {"success": True, "sessions": 1})
    (_, session), (visitor_key, _) = service.publisher.sessions
    assert visitor_key == b"u:1666707227246044402"
    assert session == Session(
        session_id="s1",
        row_id=ROW_ID,
        session_at=1_772_368_200_123,
        last_visit_at=1_772_368_200_123,
        received_at=NOW_MS,
        creates_row=False,
        ym_uid="1666707227246044402",
        yclid="16064509312686620671",
    )


async def test_a_deleted_row_removes_its_session_but_not_its_visitors_last_one(
    service: Service, client: httpx.AsyncClient
) -> None:
    await client.post("/sessions/supabase", json=row_change("DELETE"), headers=KEY)
    assert service.publisher.sessions == [(b"s:s1", None)]


@pytest.mark.parametrize("row", [{"session_id": None}, {"id": None}, {"timestamp": "never"}, {"session_id": {}}])
async def test_a_row_that_nothing_can_be_joined_with_is_skipped(
    service: Service, client: httpx.AsyncClient, row: dict[str, Any]
) -> None:
    answer = await client.post("/sessions/supabase", json=row_change(**row), headers=KEY)
    assert (answer.status_code, answer.json()["sessions"], answer.json()["skipped"]) == (202, 0, 1)
    assert service.publisher.records == []


def test_a_row_with_a_visitor_id_that_is_none_is_known_by_its_session() -> None:
    session = change(row_change(analytics_data={"ids": {"ym_uid": "undefined", "yclid": "7"}}), received_at=NOW_MS)
    assert isinstance(session, Session)
    assert (session.ym_uid, session.yclid) == (None, "7")


def row_of(analytics_data: object, **over: object) -> Session:
    """What a row of the site becomes."""
    row = {
        "id": ROW_ID,
        "session_id": "s1",
        "analytics_data": analytics_data,
        "timestamp": "2026-09-01T00:00:00Z",
        **over,
    }
    found = change({"table": "user_analytics", "type": "INSERT", "record": row}, received_at=NOW_MS)
    assert isinstance(found, Session)
    return found


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_ids_in_a_text_that_holds_json_are_found(times: int) -> None:
    def encoded(value: object) -> object:
        for _ in range(times):
            value = json.dumps(value)
        return value

    ids = {"ym_uid": "1744296311100000185", "yclid": "7", "user_id": "u"}
    for data in (encoded({"ids": ids}), {"ids": encoded(ids)}, encoded({"ids": encoded(ids)})):
        session = row_of(data)
        assert {name: getattr(session, name) for name in ids} == ids


@pytest.mark.parametrize(
    "data",
    ["", "no JSON", '"ids"', "[1]", "5", "null", '{"ids": ', '{"ids": "5"}', '{"ids": "[]"}', "{" * 100_000, [], 5],
)
def test_a_text_that_holds_no_object_has_no_ids_and_the_session_is_known(data: object) -> None:
    session = row_of(data)
    assert (session.session_id, session.ym_uid) == ("s1", None)


@pytest.mark.parametrize(
    ("written", "read"),
    [("\u200b174", "174"), ('"174"', "174"), ("_ym_uid=174", "174"), (["174"], "174"), (0, None), ("null", None),
     (1744296311369632500, None), (1744296311369632447, "1744296311369632447")],
)  # fmt: skip
def test_a_sessions_ids_are_read_as_a_conversions_are(written: object, read: str | None) -> None:
    assert row_of({"ids": {"ym_uid": written}}).ym_uid == read
    if written != 1744296311369632500:
        told = beacon({"session_id": "s", "ym_uid": written}, received_at=NOW_MS)
        assert told.ym_uid == read
        if read is not None:
            assert orjson.loads(told.analytics_data or "")["ids"] == {"ym_uid": read}


def test_a_session_and_a_conversion_that_name_it_with_other_wrapping_meet() -> None:
    assert row_of({}, session_id='\u200b"s-1"').session_id == "s-1"
    assert beacon({"session_id": "s-1\ufeff"}, received_at=NOW_MS).session_id == "s-1"


@pytest.mark.parametrize(
    ("payload", "field"), [({"type": "INSERT", "table": "orders"}, "table"), ({"table": "user_analytics"}, "type")]
)
async def test_another_tables_webhook_is_refused_by_name(
    client: httpx.AsyncClient, payload: dict[str, str], field: str
) -> None:
    answer = await client.post("/sessions/supabase", json=payload, headers=KEY)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("address", ["/sessions", "/sessions/supabase"])
async def test_only_the_write_key_opens_session_intake(
    service: Service, client: httpx.AsyncClient, address: str
) -> None:
    for headers in ({}, {"X-Write-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-Write-Key": ""}):
        assert (await client.post(address, json={"session_id": "s"}, headers=headers)).status_code == 401
    assert service.publisher.records == []
    bearer = {"Authorization": f"Bearer {WRITE_KEY}"}
    content = row_change() if "supabase" in address else {"session_id": "s"}
    assert (await client.post(address, json=content, headers=bearer)).status_code == 202


@pytest.mark.parametrize("address", ["/sessions", "/sessions/supabase"])
async def test_json_errors_methods_sizes_and_outages_are_answered_as_everywhere(
    service: Service, client: httpx.AsyncClient, address: str
) -> None:
    broken = await client.post(address, content=b'{"session_id": }', headers=KEY)
    assert (broken.status_code, "line 1, column 16" in broken.json()["error"]) == (400, True)
    assert (await client.get(address)).status_code == 405
    assert (await client.post(address, content=b"x" * 70_000, headers=KEY)).status_code == 413
    assert (await client.post(address, content=b"5", headers=KEY)).status_code == 400
    service.publisher.down = True
    content = row_change() if "supabase" in address else {"session_id": "s"}
    assert (await client.post(address, json=content, headers=KEY)).status_code == 503


async def test_only_allowed_origins_may_read_the_answer(client: httpx.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-write-key,content-type"}
    allowed = await client.options("/sessions", headers=asked | {"Origin": "https://shop.example"})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    assert (await client.options("/sessions", headers=asked | {"Origin": "https://evil.example"})).status_code == 400
    posted = await client.post("/sessions", json={"session_id": "s"}, headers=KEY | {"Origin": "https://shop.example"})
    assert posted.headers["access-control-allow-origin"] == "https://shop.example"


async def test_a_star_allows_every_origin() -> None:
    async with Service(origins=("*",)).client() as client:
        posted = await client.post(
            "/sessions", json={"session_id": "s"}, headers=KEY | {"Origin": "https://any.example"}
        )
    assert posted.headers["access-control-allow-origin"] == "*"


_LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=12)
)
_JSON = st.recursive(
    _LEAVES, lambda part: st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=4), part, max_size=3)
)
_NAMES = st.sampled_from(["session_id", "ym_uid", "id", "timestamp", "last_visit_at", "analytics_data", "x"])


@given(st.dictionaries(_NAMES, _JSON, max_size=6))
def test_whatever_a_browser_sends_is_encodable_or_refused_by_name(values: dict[str, object]) -> None:
    try:
        session = beacon(values, received_at=NOW_MS)
    except BadField:
        return
    uuid.UUID(session.row_id)
    assert SESSION_CODEC.decode(session_records(session, SESSION_CODEC)[0].value) == session


async def test_a_beacon_from_another_sites_page_is_refused_where_origins_are_named(
    service: Service, client: httpx.AsyncClient
) -> None:
    headers = KEY | {"Content-Type": "text/plain"}
    for origin, status in (("https://evil.example", 403), ("https://shop.example", 202)):
        answer = await client.post("/sessions", content=b'{"session_id": "s"}', headers=headers | {"Origin": origin})
        assert answer.status_code == status
    assert (await client.post("/sessions", content=b'{"session_id": "s"}', headers=headers)).status_code == 202
    assert len(service.publisher.records) == 2
