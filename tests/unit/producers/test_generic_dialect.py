"""goalpost's own contract: every body is understood, refused by name, or unparseable; nothing raises."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlencode

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.dialects.generic import parse
from producers.dialects.outcome import Outcome, Parsed, Refused, Reported, Submission, Unidentified, Unparseable
from producers.raw_events import Delivery, raw_events
from tests.unit.producers.parts import NOW_MS, RAW_CODEC, WEBHOOK

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def read(body: bytes, content_type: str | None = JSON, query: tuple[tuple[str, str], ...] = ()) -> Outcome:
    return parse(Submission(body=body, content_type=content_type, query=query, received_at=NOW_MS, fields={}))


def one(body: bytes, content_type: str | None = JSON, query: tuple[tuple[str, str], ...] = ()) -> Reported:
    outcome = read(body, content_type, query)
    assert isinstance(outcome, Parsed), outcome
    (event,) = outcome.events
    return event


def test_the_seeds_object_is_understood_and_needs_no_copy_of_itself() -> None:
    event = one(b'{"session_id": "s1", "ym_uid": null, "goal_name": "payment_success", "goal_value": 5000}')
    assert event == Reported(session_id="s1", goal_name="payment_success", goal_value=Decimal(5000))


def test_every_field_has_its_place() -> None:
    given_fields = {
        "session_id": "s", "ym_uid": "1666707227246044402", "yclid": 16064509312686620671, "user_id": "u",
        "purchase_id": "p", "goal_name": "g", "goal_value": "1 500,50", "stage": "WON", "order_id": 42,
        "currency": "rub", "occurred_at": "2026-03-01T00:00:00Z", "event_id": "e",
    }  # fmt: skip
    assert one(orjson.dumps(given_fields)) == Reported(
        session_id="s",
        ym_uid="1666707227246044402",
        yclid="16064509312686620671",
        user_id="u",
        purchase_id="p",
        goal_name="g",
        goal_value=Decimal("1500.5"),
        stage="WON",
        order_id="42",
        currency="RUB",
        occurred_at=1_772_323_200_000,
        event_id="e",
    )


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [(FORM, "utf-8"), (f"{FORM}; charset=UTF-8", "utf-8"), (f"{FORM}; charset=windows-1251", "cp1251"), (None, "utf-8"),
     ("text/plain", "utf-8")],
)  # fmt: skip
def test_a_form_is_the_same_as_json(content_type: str | None, charset: str) -> None:
    body = urlencode({"session_id": "s1", "goal_value": "1 500,50", "менеджер": "Анна"}, encoding=charset).encode()
    event = one(body, content_type)
    assert event.session_id == "s1"
    assert event.goal_value == Decimal("1500.5")
    assert orjson.loads(event.payload or "") == {"session_id": "s1", "goal_value": "1 500,50", "менеджер": "Анна"}


def test_a_multipart_form_is_the_same_as_json_and_its_files_are_passed_over() -> None:
    request = httpx.Request(
        "POST", "http://door", data={"session_id": "ж1", "goal_value": "7"}, files={"scan": ("a.pdf", b"\xff\xfe")}
    )
    event = one(request.read(), request.headers["content-type"])
    assert (event.session_id, event.goal_value) == ("ж1", Decimal(7))
    assert orjson.loads(event.payload or "") == {"session_id": "ж1", "goal_value": "7"}


def test_the_last_of_repeated_form_fields_counts_and_all_are_kept() -> None:
    event = one(b"session_id=a&session_id=b&tag=x&tag=y&tag=z", FORM)
    assert event.session_id == "b"
    assert orjson.loads(event.payload or "") == {"session_id": ["a", "b"], "tag": ["x", "y", "z"]}


@pytest.mark.parametrize(
    "content_type", [None, FORM, "text/plain", "application/vnd.api+json", "application/octet-stream"]
)
def test_json_is_recognised_whatever_the_sender_calls_it(content_type: str | None) -> None:
    assert one(b' {"session_id": "s1"}', content_type).session_id == "s1"


def test_a_byte_order_mark_is_no_obstacle_but_the_payload_is_written_without_it() -> None:
    event = one(b'\xef\xbb\xbf{"session_id": "s1"}')
    assert (event.session_id, event.payload) == ("s1", '{"session_id":"s1"}')
    for content_type in (None, FORM):
        assert one(b'\xef\xbb\xbf{"session_id": "s1", "page": "/?a=b"}', content_type).session_id == "s1"
    assert one(b"\xef\xbb\xbfsession_id=s1", FORM).session_id == "s1"


def test_json_in_another_charset_is_read_where_its_content_type_says_so() -> None:
    event = one('{"session_id": "с"}'.encode("cp1251"), "application/json; charset=windows-1251")
    assert (event.session_id, event.payload) == ("с", '{"session_id":"с"}')


def test_each_element_of_an_array_is_a_conversion_with_its_own_payload() -> None:
    outcome = read(b'[{"session_id": "a", "deal": 1}, {"ym_uid": "5"}]')
    assert outcome == Parsed(
        events=(
            Reported(session_id="a", payload='{"session_id":"a","deal":1}'),
            Reported(ym_uid="5", payload='{"ym_uid":"5"}'),
        )
    )


@pytest.mark.parametrize("body", [b"", b"  \n", b"test=test", b"[]", b'{"test": "test"}'])
def test_a_probe_has_no_events(body: bytes) -> None:
    assert read(body, FORM if b"=" in body else None) == Parsed(events=())


def test_parameters_of_the_address_fill_in_what_the_body_leaves_out() -> None:
    query = (("goal_name", "paid"), ("session_id", "from-address"), ("utm", "ignored"))
    event = one(b'{"session_id": "s1", "goal_name": "", "deal": 5}', query=query)
    assert (event.session_id, event.goal_name) == ("s1", "paid")
    assert orjson.loads(event.payload or "") == {"session_id": "s1", "goal_name": "paid", "deal": 5}
    assert one(b"", None, query).session_id == "from-address"
    assert read(b"", None, (("utm", "only"),)) == Parsed(events=())


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"session_id": "s", "x": "a\\u0000b"}', '{"session_id":"s","x":"a\ufffdb"}'),
        (b'{"session_id": "s", "x": "a\\\\u0000b"}', None),
        (b'{"session_id": "s", "x": "\\\\\\u0000"}', '{"session_id":"s","x":"\\\\\ufffd"}'),
        (b'{"session_id": "s", "x": 1e-20000}', '{"session_id":"s","x":"1e-20000"}'),
        (b'{"session_id": "s", "x": [-1.5E-020000]}', '{"session_id":"s","x":["-1.5E-020000"]}'),
        (b'{"session_id": "s", "x": 1e999999}', '{"session_id":"s","x":"1e999999"}'),
        (b'{"session_id": "s", "x": 0.%b}' % (b"1" * 17_000), '{"session_id":"s","x":"0.%s"}' % ("1" * 17_000)),
        (b'{"session_id": "2de71714-a31e-40c8-9ffa-e1234567e999"}', None),
    ],
)
def test_what_postgres_refuses_in_json_is_written_anew(body: bytes, payload: str | None) -> None:
    assert one(body).payload == payload


@pytest.mark.parametrize(("content_type", "kept"), [(JSON, False), (FORM, True)])
def test_a_conversion_without_any_id_is_unidentified(content_type: str, kept: bool) -> None:
    body = b'{"goal_value": 5}' if content_type == JSON else b"goal_value=5"
    assert read(body, content_type) == Unidentified(kept=kept)


@pytest.mark.parametrize("known", ["session_id", "ym_uid", "yclid", "user_id", "purchase_id"])
def test_any_one_id_identifies(known: str) -> None:
    assert isinstance(read(orjson.dumps({known: "5"})), Parsed)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"session_id": "s", "goal_value": "NaN"}', "goal_value"),
        (b'{"session_id": 1.5}', "session_id"),
        (b'{"session_id": true}', "session_id"),
        (b'{"session_id": {}}', "session_id"),
        (b'{"session_id": "s", "ym_uid": 18446744073709551616}', "ym_uid"),
        (b'{"session_id": "s", "currency": "roubles"}', "currency"),
        (b'{"session_id": "s", "occurred_at": "soon"}', "occurred_at"),
        (b'{"session_id": "s", "goal_name": "a/b"}', "goal_name"),
        (b'[{"session_id": "s"}, {"session_id": "t", "goal_value": "x"}]', "[1].goal_value"),
        (b'[{"session_id": "s"}, {"goal_value": 5}]', "[1]"),
        (b'[{"session_id": "s"}, 5]', "[1]"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_a_remedy(body: bytes, field: str) -> None:
    outcome = read(body)
    assert isinstance(outcome, Refused)
    assert outcome.field == field
    assert outcome.message.startswith(field)
    assert "; send" in outcome.message
    assert not outcome.kept


@pytest.mark.parametrize("character", list('/\\&#?="'))
def test_metrikas_forbidden_characters_are_refused_in_goals(character: str) -> None:
    body = urlencode({"session_id": "s", "goal_name": f"a{character}b"}).encode()
    outcome = read(body, FORM)
    assert isinstance(outcome, Refused)
    assert (outcome.field, outcome.kept) == ("goal_name", True)


def test_an_amount_that_no_program_can_hold_is_refused_by_its_name() -> None:
    outcome = read(b'{"session_id": "s", "goal_value": 1e400}')
    assert isinstance(outcome, Refused)
    assert outcome.field == "goal_value"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"session_id": "s",}', "line 1, column 19"),
        (b'[\n{"session_id" "s"}]', "line 2, column 15"),
        (b'{"session_id": NaN}', "line 1, column 16"),
        (b'{"session_id": "\xff"}', "line 1, column"),
        (b"hello", "line 1, column 1"),
        (b"5", "neither a JSON object nor an array"),
        (b'"text"', "neither a JSON object nor an array"),
        (b"[" * 2000, "line 1, column"),
    ],
)
def test_json_that_is_none_is_refused_with_the_place(body: bytes, says: str) -> None:
    outcome = read(body)
    assert isinstance(outcome, Unparseable)
    assert says in outcome.message
    assert not outcome.kept


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"session_id=%ff%fe", FORM),
        (b"\xff\xfe=1", FORM),
        (b"a=1", f"{FORM}; charset=punycode"),
        (b"&".join(b"a%d=1" % number for number in range(20_001)), FORM),
        (b"{broken json, sent as a form}=\xff", FORM),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data"),
    ],
)
def test_a_form_that_cannot_be_read_is_kept(body: bytes, content_type: str) -> None:
    outcome = read(body, content_type)
    assert isinstance(outcome, Unparseable)
    assert outcome.kept


_LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=12)
)
_NAMES = st.sampled_from(
    ["session_id", "ym_uid", "yclid", "goal_name", "goal_value", "order_id", "currency", "occurred_at", "event_id", "x"]
)
_OBJECTS = st.dictionaries(_NAMES, _LEAVES | st.lists(_LEAVES, max_size=2), max_size=6)


@given(
    st.binary(max_size=200),
    st.sampled_from([None, JSON, FORM, "multipart/form-data; boundary=b", "text/plain", "\xff"]),
)
@example(b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b")
@example(b'{"session_id": "\\ud800"}', JSON)
@example(b'[{"session_id": "s", "x":' + b"[" * 500 + b"]" * 500 + b"}]", JSON)
def test_no_bytes_raise(body: bytes, content_type: str | None) -> None:
    read(body, content_type)


@given(st.lists(_OBJECTS, max_size=3) | _OBJECTS)
def test_whatever_is_accepted_fits_the_schema_and_comes_back(content: object) -> None:
    body = orjson.dumps(content)
    outcome = read(body)
    if isinstance(outcome, Parsed):
        delivery = Delivery(
            webhook_id=WEBHOOK.webhook_id,
            dialect="generic",
            received_at=NOW_MS,
            body=body,
            content_type=JSON,
            query=None,
            key=None,
        )
        for event in raw_events(outcome.events, delivery, new_id=lambda: "id"):
            assert RAW_CODEC.decode(RAW_CODEC.encode(event)) == event
