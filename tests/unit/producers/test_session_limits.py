"""How much of the sessions' address one visitor, all visitors and the site's database may take."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from ipaddress import ip_network

import httpx
import orjson
import pytest

from producers import admission
from producers.dialects.sizes import Sizes
from producers.sessions import SessionLimits
from producers.supabase import NotJson, payload_of
from runtime.sections import WebhookSettings
from tests.unit.producers.parts import WRITE_KEY, Service

KEY = {"X-Write-Key": WRITE_KEY}
PROXY = (ip_network("127.0.0.1/32"),)
ROW = {"id": str(uuid.UUID(int=7)), "session_id": "s1", "timestamp": "2026-01-02T03:04:05+00:00"}


def service(*, per_second: float = 0, per_client: float = 0, sizes: Sizes | None = None) -> Service:
    limits = SessionLimits(
        body_bytes=65_536,
        row_bytes=16 * 1024 * 1024,
        per_second=per_second,
        per_client_and_second=per_client,
        trusted_proxies=PROXY,
        sizes=sizes or Sizes(),
    )
    return Service(limits=limits)


async def statuses(client: httpx.AsyncClient, visitors: Iterator[str | None], body: object, path: str) -> list[int]:
    found = []
    for visitor in visitors:
        headers = KEY | ({"X-Forwarded-For": visitor} if visitor else {})
        found.append((await client.post(path, json=body, headers=headers)).status_code)
    return found


async def test_one_visitor_that_is_too_fast_is_429_and_the_others_are_not() -> None:
    site = service(per_client=1)
    async with site.client() as client:
        flood = await statuses(client, iter(["203.0.113.5"] * 8), {"session_id": "s"}, "/sessions")
        others = await statuses(client, (f"203.0.113.{n}" for n in range(100, 150)), {"session_id": "s"}, "/sessions")
        site.clock_seconds += 1
        later = await statuses(client, iter(["203.0.113.5"] * 2), {"session_id": "s"}, "/sessions")
    assert flood == [202] * 5 + [429] * 3
    assert set(others) == {202}
    assert later == [202, 429]


async def test_where_a_proxy_does_not_tell_the_visitors_apart_only_all_of_them_are_limited() -> None:
    async with service(per_client=1).client() as client:
        assert set(await statuses(client, iter([None] * 50), {"session_id": "s"}, "/sessions")) == {202}
    async with service(per_client=1, per_second=4).client() as client:
        found = await statuses(client, iter([None] * 25), {"session_id": "s"}, "/sessions")
    assert (found.count(202), found.count(429)) == (20, 5)


async def test_an_array_counts_as_many_as_there_are_in_it() -> None:
    many = [{"session_id": "s"}] * 20
    for site in (service(per_second=4), service(per_client=4)):
        async with site.client() as client:
            found = await statuses(client, iter(["203.0.113.5"] * 3), many, "/sessions")
        assert found == [202, 429, 429]


async def test_a_visitor_without_the_key_uses_up_nothing() -> None:
    async with service(per_client=1, per_second=1).client() as client:
        for _ in range(20):
            assert (await client.post("/sessions", json={}, headers={"X-Write-Key": "wrong"})).status_code == 401
        assert await statuses(client, iter(["203.0.113.5"]), {"session_id": "s"}, "/sessions") == [202]


async def test_what_a_database_reports_is_never_refused_for_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_LONGEST_WAIT_SECONDS", 0.001)
    change = {"type": "INSERT", "table": "user_analytics", "record": ROW, "old_record": None}
    site = service(per_client=0.1, per_second=0.1)
    async with site.client() as client:
        assert set(await statuses(client, iter(["203.0.113.5"] * 30), change, "/sessions/supabase")) == {202}
        flood = await statuses(client, iter(["203.0.113.5"] * 3), {"session_id": "s"}, "/sessions")
    assert 429 in flood
    assert len(site.publisher.sessions) >= 30


def test_a_site_of_any_usual_size_is_within_the_limits() -> None:
    usual = WebhookSettings.model_validate({"GOALPOST_SESSIONS_WRITE_KEY": "k"})
    assert usual.max_sessions_per_second >= 1000
    assert 20 <= usual.max_sessions_per_client_and_second < usual.max_sessions_per_second


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("packed", [False, True])
async def test_an_update_of_a_row_of_megabytes_is_taken_and_its_content_goes_nowhere(
    as_text: bool, packed: bool
) -> None:
    data = {"ids": {"ym_uid": "1700000000000000001"}, "events": [{"page": "x" * 100, "n": n} for n in range(35_000)]}
    row = ROW | {"analytics_data": orjson.dumps(data).decode() if as_text else data}
    body = orjson.dumps({"type": "UPDATE", "table": "user_analytics", "record": row, "old_record": row})
    assert len(body) > 8_000_000
    site = service()
    async with site.client() as client:
        headers = KEY | ({"Content-Encoding": "gzip"} if packed else {})
        content = gzip.compress(body) if packed else body
        answer = await client.post("/sessions/supabase", content=content, headers=headers)
        elsewhere = await client.post("/sessions", content=content, headers=headers)
    assert (answer.status_code, answer.json()["sessions"]) == (202, 1)
    assert elsewhere.status_code == 413
    (_, session), (_, visitor) = site.publisher.sessions
    assert session is not None
    assert (session.session_id, session.ym_uid, session.analytics_data) == ("s1", "1700000000000000001", None)
    assert visitor is not None
    assert max(len(record.value or b"") for record in site.publisher.records) < 500


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b" [] ", None),
        (b'{"table": "t", "type": "DELETE", "old_record": {"id": "1", "x": [{}]}}', {"id": "1"}),
        (b'\xef\xbb\xbf{"type": "DELETE", "old_record": {"id": 1}}', {"id": 1}),
        (b'{"type": "DELETE", "old_record": {"id": "1", "id": "2"}}', {"id": "2"}),
        (b'{"type": "DELETE", "old_record": {"\\u0069d": "2"}}', {"id": "2"}),
        (b'{"type": "DELETE", "old_record": {"id": {"a": [1]}}}', {"id": {"a": [1]}}),
    ],
)
def test_only_what_makes_a_session_is_read_of_a_row(written: bytes, read: object) -> None:
    found = payload_of(written)
    row = None if found is None else {name: value for name, value in found["old_record"].items() if value is not None}
    assert row == read


@pytest.mark.parametrize("texts", range(4))
def test_a_rows_data_is_read_in_however_many_texts_it_stands(texts: int) -> None:
    data: object = {"ids": {"ym_uid": "5"}, "more": "x" * 100_000}
    for _ in range(texts):
        data = orjson.dumps(data).decode()
    found = payload_of(orjson.dumps({"type": "INSERT", "record": {"analytics_data": data}}))
    assert found["record"]["analytics_data"] == {"ids": {"ym_uid": "5"}}


@pytest.mark.parametrize("data", [rb'"{"', rb'"', rb'"[]"', rb"[]", rb'"\\"', rb'"\ud800"', rb"7", rb'{"ids": nul}'])
def test_a_rows_data_that_is_none_costs_it_only_its_ids(data: bytes) -> None:
    body = b'{"type": "INSERT", "record": {"session_id": "s", "analytics_data": %b}}' % data
    try:
        assert payload_of(body)["record"]["session_id"] == "s"
    except NotJson:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(body)


def test_a_value_longer_than_any_id_is_not_taken_apart() -> None:
    found = payload_of(b'{"type": "INSERT", "record": {"session_id": [' + b"[]," * 100_000 + b"1]}}")
    assert len(found["record"]["session_id"]) == 16 * 1024
