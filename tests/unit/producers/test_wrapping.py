"""JSON is the same conversion whatever it comes inside, in every dialect, and no secret hides in its wrapping."""

from __future__ import annotations

import codecs
import contextlib
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.dialects import DIALECTS
from producers.dialects.bodies import Unreadable, read
from producers.taking import Taken
from schemas.events import RawEvent
from tests.unit.producers.crm import FORM, JSON, accepted, error_class, events, outcome
from tests.unit.producers.parts import WRITE_KEY, Service

Wrapping = Callable[[bytes], tuple[bytes, str | None]]
BOUNDARY = "multipart/form-data; boundary=b"
YM_UID = "1666707227246044402"

YM_UID_FIELD = {"id": 1, "name": "_ym_uid", "values": [{"value": YM_UID}]}
CONVERSIONS: dict[str, dict[str, Any]] = {
    "generic": {"ym_uid": YM_UID, "goal_name": "paid", "goal_value": 700, "order_id": "A&B=1+2", "event_id": "тест"},
    "zapier": {"YM UID": YM_UID, "Goal Name": "paid", "goal_value": "1 500,50", "order_id": "A&B=1+2 %41"},
    "make": {"ym_uid": YM_UID, "goal_name": "paid", "goal_value": 700, "order_id": "заказ"},
    "tilda": {"ym_uid": YM_UID, "tranid": "7:1", "formid": "form1", "payment": {"orderid": "5", "amount": "100"}},
    "bitrix24": {"document_id": ["crm", "CCrmDocumentDeal", "DEAL_5"], "ym_uid": YM_UID, "STAGE_ID": "WON"},
    "bitrix24_event": {"event": "ONCRMDEALUPDATE", "data": {"FIELDS": {"ID": "5"}}, "ts": "1789990000"},
    "amocrm": {
        "leads": {"status": [{"id": 5, "status_id": 142, "price": 9, "custom_fields": [YM_UID_FIELD]}]},
        "account": {"id": 7},
    },
}  # fmt: skip


def part(content: bytes, disposition: str, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"--b\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"


def utf16(content: bytes, encoding: str, mark: bytes = b"") -> bytes:
    return mark + content.decode().encode(encoding)


WRAPPINGS: dict[str, Wrapping] = {
    "as JSON": lambda json: (json, JSON),
    "with odd capitals and a charset": lambda json: (json, "Application/JSON; Charset=UTF-8"),
    "as text": lambda json: (json, "text/plain; charset=utf-8"),
    "without a Content-Type": lambda json: (json, None),
    "declared as a form": lambda json: (json, FORM),
    "declared as multipart": lambda json: (json, BOUNDARY),
    "with an equals sign": lambda json: (json + b"=", FORM),
    "with an equals sign, as text": lambda json: (json + b"=\r\n", "text/plain"),
    "with a mark": lambda json: (codecs.BOM_UTF8 + json, JSON),
    "with two marks": lambda json: (codecs.BOM_UTF8 * 2 + json, JSON),
    "with a newline": lambda json: (b"\r\n " + json + b"\n\r\n", JSON),
    "padded with NULs": lambda json: (json + b"\0" * 5, JSON),
    "padded with NULs and newlines": lambda json: (json + b"\n\0\0\n", None),
    "in UTF-16 with a mark": lambda json: (utf16(json, "utf-16-le", codecs.BOM_UTF16_LE), JSON),
    "in UTF-16 with the other mark": lambda json: (utf16(json, "utf-16-be", codecs.BOM_UTF16_BE), "text/plain"),
    "in UTF-16 that says so": lambda json: (utf16(json, "utf-16-le"), "application/json; charset=utf-16le"),
    "in UTF-16 the other way round": lambda json: (utf16(json, "utf-16-be"), None),
    "as a field's name": lambda json: (urlencode({json.decode(): ""}).encode(), FORM),
    "as a field's name without equals sign": lambda json: (quote_plus(json).encode(), FORM),
    "as a field's name, spaces as %20": lambda json: (quote(json).encode() + b"=", FORM),
    "as a field's name, as text": lambda json: (quote(json).encode(), "text/plain"),
    "as a field's name with a mark": lambda json: (quote(codecs.BOM_UTF8 + json).encode() + b"=", FORM),
    "half encoded": lambda json: (quote(json, safe=":,/[]!'()*").encode(), FORM),
    "as a field's name beside another": lambda json: (urlencode({json.decode(): "", "source": "crm"}).encode(), FORM),
    "as payload": lambda json: (urlencode({"payload": json.decode()}).encode(), FORM),
    "as data": lambda json: (urlencode({"data": json.decode()}).encode(), FORM),
    "as body, without a Content-Type": lambda json: (urlencode({"body": json.decode()}).encode(), None),
    "as a field of any name": lambda json: (urlencode({"crm_message": json.decode()}).encode(), FORM),
    "as payload beside others": lambda json: (
        urlencode({"source": "x", "Payload": json.decode(), "n": ""}).encode(), FORM),
    "as payload in windows-1251": lambda json: (
        urlencode({"payload": json.decode()}, encoding="cp1251").encode(), f"{FORM}; charset=windows-1251"),
    "as a part": lambda json: (part(json, 'name="p"', "Content-Type: application/json") + b"--b--\r\n", BOUNDARY),
    "as a part with a charset": lambda json: (
        part(json, 'name="p"', "content-type: Application/Json; charset=utf-8") + b"--b--", BOUNDARY),
    "as a text part": lambda json: (part(json, 'name="payload"') + b"--b--\r\n", BOUNDARY),
    "as a part without a name": lambda json: (
        part(json, "x=y", "Content-Type: application/json") + b"--b--\r\n", BOUNDARY),
    "as a file": lambda json: (part(json, 'name="f"; filename="a.json"') + b"--b--\r\n", BOUNDARY),
    "as a file with a mark": lambda json: (
        part(codecs.BOM_UTF8 + json, 'name="f"; filename="a"', "Content-Type: text/plain") + b"--b--\r\n", BOUNDARY),
    "as a blob beside a field": lambda json: (
        part(b"1", 'name="v"') + part(json, 'name="d"; filename="blob"', "Content-Type: application/json")
        + b"--b--\r\n", BOUNDARY),
    "as text in JSON": lambda json: (orjson.dumps(json.decode()), JSON),
    "as text in text in JSON": lambda json: (orjson.dumps(orjson.dumps(json.decode()).decode()), "text/plain"),
    "as text in JSON declared as a form": lambda json: (orjson.dumps(json.decode()), FORM),
    "as text in an object": lambda json: (orjson.dumps({"body": json.decode()}), JSON),
    "as text in JSON in a field": lambda json: (
        urlencode({"payload": orjson.dumps(json.decode()).decode()}).encode(), FORM),
}  # fmt: skip


def without_its_wrapping(event: RawEvent) -> dict[str, Any]:
    left_out = ("body", "payload", "content_type", "event_id")
    return {name: getattr(event, name) for name in RawEvent.__slots__ if name not in left_out}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversion_is_the_same_whatever_it_comes_inside(dialect: str, wrapping: str) -> None:
    json = orjson.dumps(CONVERSIONS[dialect])
    (plain,) = events(accepted(dialect, json, JSON))
    body, content_type = WRAPPINGS[wrapping](json)
    (event,) = events(accepted(dialect, body, content_type))
    assert without_its_wrapping(event) == without_its_wrapping(plain)
    # Whatever is not the body itself says in its payload what it was taken from.
    said = orjson.loads(event.payload if event.payload is not None else event.body)
    assert CONVERSIONS[dialect].items() <= (said if dialect != "amocrm" else CONVERSIONS[dialect]).items()


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_an_array_is_as_many_conversions_whatever_it_comes_inside(wrapping: str) -> None:
    body, content_type = WRAPPINGS[wrapping](orjson.dumps([{"ym_uid": "5"}, {"ym_uid": "6"}]))
    found = outcome("make", body, content_type)
    assert isinstance(found, Taken)
    beside_others = "beside" in wrapping
    assert [event.ym_uid for event in events(found)] == ([] if beside_others else ["5", "6"])
    assert (found.kept_for is not None) is beside_others


_texts = st.text(max_size=12)
_values = st.recursive(
    _texts | st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(
    content=st.dictionaries(_texts, _values, min_size=2, max_size=5),
    wrapping=st.sampled_from([name for name in WRAPPINGS if "beside" not in name and "1251" not in name]),
)
def test_any_object_is_found_in_any_wrapping(content: dict[str, Any], wrapping: str) -> None:
    body, content_type = WRAPPINGS[wrapping](orjson.dumps(content))
    found = read(body, content_type, of_crm=True)
    assert found is not None
    assert isinstance(found.values, dict)
    assert content.items() <= found.values.items()


@pytest.mark.parametrize(
    "body",
    [
        urlencode({"payload": '{"ym_uid":"5"}', "data": '{"ym_uid":"6"}'}).encode(),
        urlencode({"payload": '{"goal_name":"a"}', "goal_name": "b"}).encode(),
        urlencode({'{"ym_uid":"5"}': "", '{"ym_uid":"6"}': ""}).encode(),
        urlencode({"payload": '{"ym_uid":"5"', "x": "1"}).encode(),
        urlencode({"payload": '{"source":"a","ym_uid":"5"}', "source": "b"}).encode(),
        b'{"ym_uid":"5"}{"ym_uid":"6"}',
        b'{"ym_uid":"5"}\n{"ym_uid":"6"}=',
        b'{"ym_uid":"5"}&order_id=7',
    ],
)
@pytest.mark.parametrize("dialect", ["zapier", "make"])
def test_what_has_two_meanings_is_kept_and_nothing_is_chosen(dialect: str, body: bytes) -> None:
    found = accepted(dialect, body, FORM)
    assert (found.event_ids, error_class(found) is not None, found.records[-1].value) == ([], True, body)


def test_a_form_that_says_something_itself_stays_that_form() -> None:
    (event,) = events(accepted("make", [("ym_uid", "5"), ("goal_name", "a"), ("data", '{"goal_name":"b"}')]))
    assert (event.ym_uid, event.goal_name) == ("5", "a")
    (event,) = events(
        accepted("tilda", [("ym_uid", "5"), ("tranid", "1"), ("payment", '{"orderid":"7","amount":"9"}')])
    )
    assert (event.order_id, event.goal_value) == ("7", Decimal(9))


@pytest.mark.parametrize(
    "content", [{"data": {"ym_uid": "5"}}, {"payload": [{"ym_uid": "5"}]}, {"a": "b"}, ["{}"], "x"]
)
def test_json_that_holds_no_text_of_json_is_left_alone(content: object) -> None:
    found = read(orjson.dumps(content), JSON)
    assert found is not None
    assert (found.values, found.wrapped, found.is_json_text) == (content, False, True)


def test_a_field_of_a_conversion_carries_nothing_else() -> None:
    found = accepted("make", [("session_id", '{"ym_uid":"5"}')])
    assert events(found) == []
    assert found.kept_for is not None
    assert "session_id is there and is no id" in found.kept_for.message


@pytest.mark.parametrize("wrapping", [name for name in WRAPPINGS if name != "as JSON"])
@pytest.mark.parametrize(
    ("dialect", "name", "secret"),
    [
        ("tilda", "COOKIES", "PHPSESSID=of-the-visitor; _ym_uid=5"),
        ("bitrix24", "access_token", "of-the-visitor"),
        ("bitrix24_event", "application_token", "of-the-visitor"),
    ],
)
def test_a_secret_is_not_stored_whatever_it_comes_inside(dialect: str, name: str, secret: str, wrapping: str) -> None:
    content = CONVERSIONS[dialect]
    content = {**content, name: secret} if dialect == "tilda" else {**content, "auth": {name: secret}}
    body, content_type = WRAPPINGS[wrapping](orjson.dumps(content))
    found = accepted(dialect, body, content_type)
    stored = [event.body + (event.payload or "").encode() for event in events(found)]
    assert len(stored) == 1
    assert b"of-the-visitor" not in stored[0]
    speaker = DIALECTS[dialect].storable(body, content_type)
    # What is stored is read again by a replay, as the Content-Type of then says.
    assert accepted(dialect, speaker, content_type).event_ids == found.event_ids


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("dialect", ["tilda", "bitrix24"])
def test_a_body_without_secrets_is_stored_byte_for_byte(dialect: str, wrapping: str) -> None:
    body, content_type = WRAPPINGS[wrapping](orjson.dumps(CONVERSIONS[dialect]))
    assert DIALECTS[dialect].storable(body, content_type) == body


def test_a_secret_behind_an_escaped_ampersand_is_found() -> None:
    assert DIALECTS["tilda"].storable(b"tranid=1&amp;COOKIES=a%3Db", FORM) == b"tranid=1&COOKIES="
    assert DIALECTS["tilda"].storable(b"tranid=1&amp;name=a", FORM) == b"tranid=1&amp;name=a"


@pytest.mark.parametrize(
    "body",
    [
        part(b"\x89PNG", 'name="f"; filename="a.png"') + b"--b--\r\n",
        part(b"", 'name="f"; filename=""') + b"--b--\r\n",
        b"--b--\r\n",
        part(b"not json", 'name="f"', "Content-Type: application/json") + b"--b--\r\n",
    ],
)
@pytest.mark.parametrize("dialect", [name for name, dialect in DIALECTS.items() if not dialect.refuses])
def test_a_multipart_body_without_a_field_is_no_probe_but_kept(dialect: str, body: bytes) -> None:
    found = accepted(dialect, body, BOUNDARY)
    assert (found.event_ids, error_class(found), found.records[-1].value) == ([], "body_unparseable", body)


@pytest.mark.parametrize(
    "body",
    [
        codecs.BOM_UTF8 * 350_000,
        b"{" + b"\0" * 1_000_000,
        b"a=1" + b"&amp;" * 200_000 + b"b=2",
        b"a=1&" + b"amp;" * 250_000,
        b" " * 1_000_000 + b"{",
        b'"' * 1_000_000,
        b"%7B" * 330_000,
        b"payload=%7B&" * 80_000,
        b"%7B%7D&" * 1900,
        orjson.dumps("[" * 400_000),
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_a_megabyte_of_wrapping_costs_no_more_than_its_size(body: bytes) -> None:
    begin = time.process_time()
    for content_type in (None, FORM, JSON, BOUNDARY):
        with contextlib.suppress(Unreadable):
            read(body, content_type, of_crm=True)
    assert time.process_time() - begin < 5.0  # what grows with the square takes minutes


SESSION_WRAPPINGS = ("with a mark", "padded with NULs", "with a newline", "in UTF-16 with a mark", "as text in JSON")


@pytest.mark.parametrize("wrapping", SESSION_WRAPPINGS)
async def test_sessions_are_read_through_marks_padding_and_double_encoding(wrapping: str) -> None:
    service = Service()
    row = {"type": "INSERT", "table": "user_analytics", "record": {"id": "r1", "session_id": "s1"}}
    async with service.client() as client:
        for path, content in (("/sessions", {"session_id": "s1"}), ("/sessions/supabase", row)):
            body, _ = WRAPPINGS[wrapping](orjson.dumps(content))
            answer = await client.post(path, content=body, headers={"X-Write-Key": WRITE_KEY})
            assert answer.status_code == 202, answer.text
    assert len(service.publisher.sessions) == 2


def test_fields_beyond_the_limit_are_not_left_out_in_silence() -> None:
    many = (
        b"".join(part(b"1", f'name="f{number}"') for number in range(2500)) + part(b"5", 'name="ym_uid"') + b"--b--\r\n"
    )
    with pytest.raises(Unreadable, match="more than"):
        read(many, BOUNDARY)


@pytest.mark.parametrize(
    "body", [b"\0\0\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\0", b"{\0", b"\0{", b'"', b'"{', b"%7B", b"=" * 9]
)
@pytest.mark.parametrize("dialect", [name for name, dialect in DIALECTS.items() if not dialect.refuses])
def test_fragments_of_wrappings_are_kept(dialect: str, body: bytes) -> None:
    for content_type in (None, FORM, JSON, BOUNDARY):
        found = accepted(dialect, body, content_type)
        assert (found.event_ids, found.kept_for is not None) == ([], True)
