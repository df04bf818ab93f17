"""JSON that jsonb takes: absurd numbers become texts, everything else stays, and the work is linear."""

from __future__ import annotations

import json
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.jsonb import NUMBER_LIMIT, is_storable, storable, without_absurd_numbers

ABSURD = (
    "0." + "1" * 17_000,
    "-0." + "0" * 16_384 + "1",
    "1" * 16_001,
    "1e-9999",
    "-1.5E-400",
    "1e-0000309",
)
SANE = ("0", "-0", "1.5", "1e5", "1E+300", "1e-300", "1e-00005", "0." + "1" * 15_000, "1" * 308, "12345678901234567890")


@pytest.mark.parametrize("number", ABSURD, ids=lambda text: text[:12])
def test_an_absurd_number_becomes_a_text_of_the_same_characters(number: str) -> None:
    written = f'{{"a": {number}, "b": [{number}], "c": 5.50}}'.encode()

    assert not is_storable(written)
    assert storable(written) == f'{{"a": "{number}", "b": ["{number}"], "c": 5.50}}'.encode()


@pytest.mark.parametrize("number", SANE, ids=lambda text: text[:12])
def test_a_number_that_a_program_can_mean_stays(number: str) -> None:
    written = f'{{"a": {number}, "b": [{number}]}}'.encode()

    assert is_storable(written)
    assert storable(written) == written


@pytest.mark.parametrize("number", ["1e309", "1E999999", "9" * 400, "-" + "9" * 310, "10e308"])
def test_what_no_parser_can_hold_can_be_read_as_a_text(number: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(f'{{"a": {number}}}')

    assert orjson.loads(without_absurd_numbers(f'{{"a": {number}}}'.encode())) == {"a": number}


@pytest.mark.parametrize(
    "text", ["1e-9999", "x 1e-9999,", "1" * 20_000, '\\" 1e-9999', "\\\\", "[1e-9999]", "550e8400-e29b-41d4-a716"]
)
def test_what_looks_like_a_number_inside_of_a_text_stays(text: str) -> None:
    written = f'{{"{text}": "{text}"}}'.encode()

    assert storable(written) == written
    assert is_storable(written)


def test_the_nul_character_is_replaced_in_names_and_values_and_an_escaped_backslash_is_not() -> None:
    written = rb'{"a\u0000": "b\\\u0000", "c": "\\u0000"}'

    assert storable(written) == '{"a\ufffd": "b\\\\\ufffd", "c": "\\\\u0000"}'.encode()
    assert not is_storable(written)
    assert is_storable(rb'{"c": "\\u0000"}')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_it_returns_says_the_same_and_is_storable(value: object) -> None:
    written = json.dumps(value).encode()
    stored = storable(written)

    assert is_storable(stored)
    assert storable(stored) == stored
    if "\\u0000" not in written.decode() and "e-3" not in written.decode() and len(written) < 300:
        assert stored == written


@pytest.mark.parametrize(
    "piece",
    ["1", "0.", "1e-999,", '"', '\\"', "\\", "\\u0000", "e-", "[", "-", "1e", '"\\\\"', "1" * (NUMBER_LIMIT - 1) + ","],
    ids=lambda text: text[:10],
)
def test_the_work_is_linear_whatever_is_sent(piece: str) -> None:
    def seconds(size: int) -> float:
        written = b"1e-999," + (piece * (size // len(piece) + 1)).encode()
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            is_storable(written)
            storable(written)
            without_absurd_numbers(written)
            best = min(best, time.thread_time() - began)
        return best

    small, large = seconds(128 * 1024), seconds(1024 * 1024)
    assert large < 0.02 + 30 * small  # eight times as much; a quadratic pattern would take 64 times as long
