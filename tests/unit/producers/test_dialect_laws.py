"""What holds for every dialect, whatever is sent: no exception, nothing authentic lost, no identifier changed.

``FUZZ_EXAMPLES=5000`` looks longer for exceptions.
"""

from __future__ import annotations

import os

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producers.dialects import DIALECTS
from producers.dialects.outcome import Ignored
from producers.taking import Taken
from tests.unit.producers.crm import FORM, JSON, accepted, events, outcome

LAW = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "50")), deadline=None)
CRMS = [name for name, dialect in DIALECTS.items() if not dialect.refuses]
NOTHING = {b"", b"{}", b"[]", b"null", b"test=test", b'{"test":"test"}', b"false", b"0", b'""'}
IDS = ("ym_uid", "_ym_uid", "yclid", "ClientID", "session_id", "UF_CRM_YMCLIENTID", "user_id")

_content_types = st.sampled_from(
    [None, FORM, JSON, f"{FORM}; charset=windows-1251", "multipart/form-data; boundary=b", "text/plain", "\xff"]
)
_names = st.sampled_from(
    [
        *IDS, "event", "data[FIELDS][ID]", "ts", "auth[application_token]", "document_id[2]", "stage", "leads", "lead",
        "leads[status][0][id]", "leads[status][0][status_id]", "leads[status][0][custom_fields][0][values][0]",
        "leads[status][0][custom_fields][0][name]", "leads[add][x]", "leads[add][][id]", "contacts[add][0][id]",
        "tranid", "COOKIES", "payment", "payment[amount]", "goal_value", "goal_name", "occurred_at", "currency", "test",
        "order_id", "event_id", "a[b]", "a[b][c]", "a[", "a]", "[]", "", "=",
    ]
) | st.text(max_size=8)  # fmt: skip
_values = st.sampled_from(
    ["142", "1", "DEAL_5", "ONCRMDEALUPDATE", "1666707227246044402", "16064509312686620671", "1 500,50", "0", "1e999",
     "_ym_uid=1666707227246044402; secret=1", '{"orderid": "7", "amount": 5}', "[[[", "soon", "1789990000", "\x00"]
) | st.text(max_size=12)  # fmt: skip
_pairs = st.lists(st.tuples(_names, _values), max_size=12)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | _values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)
_rules = st.lists(st.sampled_from(["142=won", "*=any", "add=added", "5:142=won", "WON=won"]), max_size=2, unique=True)
_fields = st.dictionaries(
    st.sampled_from(["ym_uid", "goal_value", "occurred_at", "event_id", "email"]),
    st.sampled_from(["ClientID", "leads[status][0][id]", "a.b.0.c", "payment", "[", "...", "event"]),
    max_size=3,
)


def is_accounted_for(found: Taken, body: bytes) -> bool:
    """Whether a body has become events, is kept, is about something else for certain, or has nothing in it."""
    certainly_none = [one for one in found.ignored if one is Ignored.OTHER_ENTITY]
    return bool(found.records or certainly_none) or body.strip(b" \t\r\n\x0b\x0c&") in NOTHING


@pytest.mark.parametrize("dialect", CRMS)
@LAW
@given(body=st.binary(max_size=120), content_type=_content_types)
@example(body=b'{"a":' * 300, content_type=JSON)
@example(body=b"[" * 3000, content_type=JSON)
@example(body=b"a" + b"[b]" * 300 + b"=1", content_type=FORM)
def test_no_bytes_raise_and_none_are_lost(dialect: str, body: bytes, content_type: str | None) -> None:
    assert is_accounted_for(accepted(dialect, body, content_type), body)


@pytest.mark.parametrize("dialect", CRMS)
@LAW
@given(pairs=_pairs, query=st.sampled_from(["", "ym_uid=5&stage=WON", "%ff=%ff&a[b]=1"]), rules=_rules, fields=_fields)
def test_no_form_raises_and_none_is_lost(
    dialect: str, pairs: list[tuple[str, str]], query: str, rules: list[str], fields: dict[str, str]
) -> None:
    found = accepted(dialect, pairs, query=query, rules=rules, fields=fields)
    assert is_accounted_for(found, b"" if not pairs or {*pairs} == {("test", "test")} else b"something")
    events(found)


@pytest.mark.parametrize("dialect", CRMS)
@LAW
@given(content=_json, rules=_rules, fields=_fields)
def test_no_json_raises_and_none_is_lost(
    dialect: str, content: object, rules: list[str], fields: dict[str, str]
) -> None:
    body = orjson.dumps(content)
    found = accepted(dialect, body, JSON, rules=rules, fields=fields)
    assert is_accounted_for(found, body) or content in (0, 0.0)
    events(found)


@LAW
@given(content=_json, fields=_fields)
def test_goalposts_own_json_is_taken_or_refused_and_never_raises(content: object, fields: dict[str, str]) -> None:
    outcome("generic", orjson.dumps(content), JSON, fields=fields)


@pytest.mark.parametrize("dialect", DIALECTS)
@LAW
@given(pairs=st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 2**64 - 1).map(str)), min_size=1, max_size=4))
def test_an_identifier_comes_out_digit_for_digit(dialect: str, pairs: list[tuple[str, str]]) -> None:
    sent = {value for _, value in pairs}
    for body, content_type in ((pairs, FORM), (orjson.dumps({name: int(value) for name, value in pairs}), JSON)):
        found = outcome(dialect, body, content_type)
        for event in events(found) if isinstance(found, Taken) else ():
            assert {event.ym_uid, event.yclid, event.session_id, event.user_id} - {None} <= sent


@LAW
@given(
    cookies=st.dictionaries(
        st.sampled_from(["_ga", "PHPSESSID", "_ym_uid", "TILDAUTM", "_ym_uid2", "x_ym_uid", "tildautm"]),
        st.text("0123456789abcdef", min_size=8, max_size=16),
    ),
    name=st.sampled_from(["COOKIES", "cookies", "Cookies", "C%4FOKIES"]),
    separator=st.sampled_from(["; ", ";", "%3B%20", " ; "]),
)
def test_of_tildas_cookies_only_two_are_stored(cookies: dict[str, str], name: str, separator: str) -> None:
    value = separator.join(f"{cookie}={content}" for cookie, content in cookies.items())
    found = accepted("tilda", f"tranid=1&user_id=u&{name}={value}".encode())
    stored = b"".join(record.value or b"" for record in found.records)
    for cookie, content in cookies.items():
        kept = cookie in ("_ym_uid", "TILDAUTM")
        shared = content in [other for one, other in cookies.items() if one != cookie]
        assert (content.encode() in stored) is kept or shared


@pytest.mark.parametrize("dialect", ["bitrix24", "bitrix24_event"])
@LAW
@given(token=st.text("0123456789abcdef", min_size=12, max_size=32), as_json=st.booleans())
def test_no_token_of_a_portal_is_stored(dialect: str, token: str, as_json: bool) -> None:
    auth = {"domain": "acme.bitrix24.ru", "application_token": token, "access_token": token}
    content = {"event": "ONCRMDEALUPDATE", "data": {"FIELDS": {"ID": "5"}}, "ym_uid": "7", "auth": auth}
    pairs = [("event", "ONCRMDEALUPDATE"), ("data[FIELDS][ID]", "5"), ("ym_uid", "7"), ("auth[access_token]", token)]
    body = orjson.dumps(content) if as_json else pairs
    found = accepted(dialect, body, JSON if as_json else FORM)
    assert len(found.records) == 1
    assert token.encode() not in (found.records[0].value or b"")
