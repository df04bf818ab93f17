"""Amounts and currencies, as people, spreadsheets and CRMs write them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from producers.fields import BadField
from producers.money import currencies, money
from schemas.currencies import _REPLACED as REPLACED
from schemas.currencies import _SPOKEN as SPOKEN
from schemas.currencies import CODES, chosen, currencies_named


def read(written: object) -> tuple[Decimal, str | None]:
    found = money({"v": written}, "v")
    assert found is not None
    return found.amount, found.currencies[0] if found.currencies else None


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
        ("1\u2009500\u2003000", "1500000"),
        ("1'500", "1500"),
        ("1\u2019500.25", "1500.25"),
        ("1 500,500", "1500.5"),
        ("1,500.50", "1500.5"),
        ("1.500,50", "1500.5"),
        ("1,500,000", "1500000"),
        ("1.500.000", "1500000"),
        ("0,500", "0.5"),
        ("1.500", "1.5"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("5.", "5"),
        ("-200", "-200"),
        ("+200", "200"),
        ("\u2212200", "-200"),
        ("\u2013 1\u00a0200,50", "-1200.5"),
        ("\u200b1500\ufeff", "1500"),
        ("1&nbsp;500", "1500"),
        ("0.00005", "0.0001"),
        ("-0", "0"),
        ("99999999999999.9999", "99999999999999.9999"),
    ],
)
def test_amounts_are_read_as_people_and_programs_write_them(written: object, expected: str) -> None:
    assert read(written) == (Decimal(expected), None)


@pytest.mark.parametrize(
    ("written", "amount", "currency"),
    [
        ("1250.00|RUB", "1250", "RUB"),
        ("1250.00|rur", "1250", "RUB"),
        ("1 250,50|", "1250.5", None),
        ("1250.00 RUB", "1250", "RUB"),
        ("RUB 1250", "1250", "RUB"),
        ("1250RUB", "1250", "RUB"),
        ("RUB1,250.50", "1250.5", "RUB"),
        ("1 250,50 руб.", "1250.5", "RUB"),
        ("1 250,50 Руб", "1250.5", "RUB"),
        ("1250р.", "1250", "RUB"),
        ("1250 р", "1250", "RUB"),
        ("1250 рублей", "1250", "RUB"),
        ("1250 рос. руб.", "1250", "RUB"),
        ("1250 ₽", "1250", "RUB"),
        ("₽1250", "1250", "RUB"),
        ("1 250 &#8381;", "1250", "RUB"),
        ("1 250 &amp;#8381;", "1250", "RUB"),
        ("1&nbsp;250&nbsp;&#x20BD;", "1250", "RUB"),
        ("$1,250.50", "1250.5", "USD"),
        ("-$50", "-50", "USD"),
        ("$-50", "-50", "USD"),
        ("US$ 50", "50", "USD"),
        ("€ 1.250,50", "1250.5", "EUR"),
        ("1250,50&euro;", "1250.5", "EUR"),
        ("\u22121 250,50 ₽", "-1250.5", "RUB"),
        ("1\u00a0250\u00a0₸", "1250", "KZT"),
        ("5 грн", "5", "UAH"),
        ("$5 USD", "5", "USD"),
        ("100 BYN", "100", "BYN"),
        ("0.00|RUB", "0", "RUB"),
        ("5. руб", "5", "RUB"),
    ],
)
def test_a_currency_may_stand_beside_an_amount(written: str, amount: str, currency: str | None) -> None:
    assert read(written) == (Decimal(amount), currency)


@pytest.mark.parametrize("written", ["|RUB", " | ", "|"])
def test_a_field_of_money_that_nobody_has_filled_in_is_absent(written: str) -> None:
    assert money({"v": written}, "v") is None


@pytest.mark.parametrize(
    "written",
    ["1,500", "-1,500", "1,500 ₽", "abc", "NaN", "Infinity", "1e5", "15 00", "1..5", "٣", "--1", "1_000", "5%", "-",
     "1250 руб. 50 коп.", "1250 or so", "1250 XYZ", "RUB", "₽", "100 XAU", "10 USD EUR", "$5 EUR", "5|US", "5|RUB|RUB",
     10**14, "99999999999999.99995", 1e300, True, [], {}, "1" * 65, " " * 3 + "0" * 70],
)  # fmt: skip
def test_an_amount_that_needs_guessing_is_refused_by_name(written: object) -> None:
    with pytest.raises(BadField, match=r"^goal_value .*; send ") as refused:
        money({"goal_value": written}, "goal_value")
    assert refused.value.field == "goal_value"


@pytest.mark.parametrize(
    ("written", "code"),
    [("rub", "RUB"), (" RUR ", "RUB"), ("643", "RUB"), (643, "RUB"), ("810", "RUB"), ("₽", "RUB"), ("руб.", "RUB"),
     ("\u200bEUR\u00a0", "EUR"), ("$", "USD"), ("&#8381;", "RUB"), ("kzt", "KZT"), ("036", "AUD")],
)  # fmt: skip
def test_a_currency_is_a_code_of_iso_4217_or_what_people_write_for_one(written: object, code: str) -> None:
    assert currencies({"v": written}, "v")[0] == code


@pytest.mark.parametrize(
    "written", ["RU", "RUBL", "R1B", "XXX", "XTS", "XAU", "ZZZ", "BTC", 7, 1.5, True, [], {}, "r" * 65]
)
def test_what_is_no_currency_is_refused_by_name(written: object) -> None:
    with pytest.raises(BadField, match=r"^currency .*; send "):
        currencies({"currency": written}, "currency")


@pytest.mark.parametrize("code", ["BYR", "byr", "TRL", "HRK", "UAK", "DEM", "AZM", "BGN"])
def test_a_currency_that_was_replaced_is_refused_with_its_successor(code: str) -> None:
    for read_one, written in ((money, f"100 {code}"), (currencies, code)):
        with pytest.raises(BadField, match=rf"^v is {code.upper()}, which [A-Z]{{3}} replaced in \d{{4}}; send "):
            read_one({"v": written}, "v")


def test_the_table_of_replaced_currencies_and_the_list_of_todays_do_not_overlap() -> None:
    assert not REPLACED.keys() & CODES
    assert {successor for successor, _ in REPLACED.values()} <= CODES
    assert {code for codes in SPOKEN.values() for code in codes if code} <= CODES
    assert {"RUB", "USD", "EUR", "BYN", "KZT", "UAH"} <= CODES


def test_a_word_for_several_currencies_is_that_of_the_webhook() -> None:
    assert chosen(currencies_named("руб."), usual="BYN") == "BYN"
    assert chosen(currencies_named("руб."), usual="KZT") == "RUB"
    assert chosen(currencies_named("$"), usual="CAD") == "CAD"
