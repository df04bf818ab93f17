"""One field at a time: what is understood, and what is refused with the field's name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fields import BadField, amount, currency, digits, moment, text
from tests.unit.producers.parts import NOW_MS


def _ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]  # year first


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (5000, "5000"),
        (1500.5, "1500.5"),
        (0.1, "0.1"),
        ("1500", "1500"),
        (" 1500,50 ", "1500.5"),
        ("1 500,50", "1500.5"),
        ("1\u00a0500\u202f000.25", "1500000.25"),
        ("1'500", "1500"),
        ("1 500,500", "1500.5"),
        ("1,500.50", "1500.5"),
        ("1.500,50", "1500.5"),
        ("1,500,000", "1500000"),
        ("1.500.000", "1500000"),
        ("0,500", "0.5"),
        ("1.500", "1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-200", "-200"),
        ("+200", "200"),
        ("0.00005", "0.0001"),
        ("-0", "0"),
        ("99999999999999.9999", "99999999999999.9999"),
    ],
)
def test_amounts_are_read_as_people_and_programs_write_them(written: object, expected: str) -> None:
    assert amount({"v": written}, "v") == Decimal(expected)


@pytest.mark.parametrize(
    "written",
    ["1,500", "abc", "NaN", "Infinity", "1e5", "15 00", "1..5", "1 500,50 руб.", "٣", "--1", "1_000",
     10**14, "99999999999999.99995", 1e300, True, [], {}],
)  # fmt: skip
def test_an_amount_that_needs_guessing_is_refused_by_name(written: object) -> None:
    with pytest.raises(BadField, match=r"^goal_value ") as refused:
        amount({"goal_value": written}, "goal_value")
    assert refused.value.field == "goal_value"


@pytest.mark.parametrize("reader", [text, digits, amount, currency])
@pytest.mark.parametrize("nothing", [None, "", "   ", "\t\n"])
def test_empty_text_is_absent(reader: type, nothing: object) -> None:
    assert reader({"v": nothing}, "v") is None
    assert reader({}, "v") is None


def test_an_identifier_may_be_a_json_integer_but_never_a_float() -> None:
    assert digits({"v": 18_446_744_073_709_551_615}, "v") == "18446744073709551615"
    assert text({"v": 7}, "v") == "7"
    with pytest.raises(BadField, match=r"2\^53.*send it as text"):
        digits({"v": 1.6667072272460444e18}, "v")


@pytest.mark.parametrize(
    "written", ["18446744073709551616", "123456789012345678901", "12a", "-5", "+5", "1.6e18", "１２", True, -5, [1]]
)
def test_a_visitor_id_is_at_most_twenty_digits_below_two_to_the_sixty_fourth(written: object) -> None:
    with pytest.raises(BadField, match=r"^ym_uid "):
        digits({"ym_uid": written}, "ym_uid")


@pytest.mark.parametrize("written", ["a" * 257, "a\x00b", "a\nb", True, 1.5, [], {}])
def test_a_text_is_printable_and_short(written: object) -> None:
    with pytest.raises(BadField, match=r"^session_id "):
        text({"session_id": written}, "session_id")


def test_a_text_may_be_in_any_language_and_as_long_as_the_limit() -> None:
    assert text({"v": f" {'я' * 256} "}, "v") == "я" * 256
    assert text({"v": "a\u00a0b"}, "v") == "a\u00a0b"


def test_a_currency_is_three_letters_in_capitals() -> None:
    assert currency({"v": " rub "}, "v") == "RUB"
    for wrong in ("RU", "RUBL", "R1B", "руб", 643):
        with pytest.raises(BadField, match=r"^v "):
            currency({"v": wrong}, "v")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-01T12:30:00+03:00", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01T12:30:00Z", _ms(2026, 3, 1, 12, 30)),
        ("2026-03-01T12:30:00", _ms(2026, 3, 1, 12, 30)),
        ("2026-03-01 12:30:00", _ms(2026, 3, 1, 12, 30)),
        ("2026-03-01T12:30:00 03:00", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30:00 +0300", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30:00.123456+00", _ms(2026, 3, 1, 12, 30) + 123),
        ("2026-03-01T12:30:00.1234567Z", _ms(2026, 3, 1, 12, 30) + 123),
        ("2026-03-01", _ms(2026, 3, 1)),
        ("01.03.2026", _ms(2026, 3, 1)),
        ("1.3.2026 9:05", _ms(2026, 3, 1, 9, 5)),
        ("01.03.2026 12:30:15", _ms(2026, 3, 1, 12, 30, 15)),
        (1_772_368_200, 1_772_368_200_000),
        (1_772_368_200_123, 1_772_368_200_123),
        ("1772368200", 1_772_368_200_000),
        (" 1772368200123 ", 1_772_368_200_123),
        ("1772368200.5", 1_772_368_200_500),
        (1_772_368_200.25, 1_772_368_200_250),
    ],
)
def test_times_are_read_in_the_formats_that_senders_use(written: object, expected: int) -> None:
    assert moment({"v": written}, "v", now=NOW_MS) == expected


@pytest.mark.parametrize(
    "written",
    ["yesterday", "31.02.2026", "2026-13-01", "01.03.26", "1999-12-31T23:59:59Z", "2126-01-01", 0, -1, 5,
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", 10**19, 1e300, True, [], {}],
)  # fmt: skip
def test_a_time_that_cannot_be_is_refused_by_name(written: object) -> None:
    with pytest.raises(BadField, match=r"^occurred_at "):
        moment({"occurred_at": written}, "occurred_at", now=NOW_MS)


@given(st.datetimes(datetime(2000, 1, 2), datetime(2026, 9, 1), timezones=st.timezones()))
def test_every_iso_time_keeps_its_instant(when: datetime) -> None:
    if (when.utcoffset() or timedelta()).total_seconds() % 60:
        return  # ISO 8601 has no seconds in offsets; those zones are local mean times of the 19th century
    expected = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert moment({"v": when.isoformat()}, "v", now=NOW_MS) == expected
