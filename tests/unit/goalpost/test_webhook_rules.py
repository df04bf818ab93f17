"""Goal rules as people write them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from goalpost.webhooks.rules import BadRule, parse_currency, parse_field, parse_rule
from schemas.events import GoalRule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("WON=payment_success", GoalRule(stage="WON", goal="payment_success")),
        ("C5:WON=paid:1500", GoalRule(stage="C5:WON", goal="paid", value=Decimal("1500.0000"))),
        ("142=paid:1500.50:rub", GoalRule(stage="142", goal="paid", value=Decimal("1500.5000"), currency="RUB")),
        ("Оплачено=paid::EUR", GoalRule(stage="Оплачено", goal="paid", currency="EUR")),
        ("a=b=paid", GoalRule(stage="a=b", goal="paid")),
        ("*=moved", GoalRule(stage="*", goal="moved")),
        ("REFUND=refund:-10", GoalRule(stage="REFUND", goal="refund", value=Decimal("-10.0000"))),
    ],
)
def test_a_rule_is_stage_goal_value_and_currency(text: str, rule: GoalRule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("paid", "not of the form"),
        ("=paid", "not of the form"),
        ("WON=", "no goal identifier"),
        ("WON=pa/id", "no goal identifier"),
        ("WON=" + "a" * 257, "longer than 256"),
        ("WON=paid:1:RUB:more", "more than goal, value and currency"),
        ("WON=paid:a lot", "no amount"),
        ("WON=paid:1.00001", "at most 4 decimals"),
        ("WON=paid:NaN", "no amount"),
        ("WON=paid:1e14", "below 10"),
        ("WON=paid:1:RUBLES", "no currency"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(BadRule, match=problem):
        parse_rule(text)


def test_a_currency_is_one_of_today_and_the_roubles_former_code_is_todays() -> None:
    assert [parse_currency(text) for text in (" rub ", "RUR", "643", "₽")] == ["RUB"] * 4
    refused = {"BYR": "BYN replaced in 2016", "XXX": "ISO 4217", "¥": "several", "r" * 99: "letters"}
    for text, problem in refused.items():
        with pytest.raises(BadRule, match=problem):
            parse_currency(text)
    with pytest.raises(BadRule, match="TRY replaced in 2005"):
        parse_rule("WON=paid:1500:TRL")


def test_a_rule_is_written_without_what_nobody_sees() -> None:
    assert parse_rule("W\u200bON\ufeff=\u200bpaid\u202c") == GoalRule(stage="WON", goal="paid")
    with pytest.raises(BadRule, match="control character"):
        parse_rule("WON=pa\x1bid")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("ym_uid=UF_CRM_YMCLIENTID", ("ym_uid", "UF_CRM_YMCLIENTID")),
        (" order_id = data[FIELDS][ID] ", ("order_id", "data[FIELDS][ID]")),
        ("goal_value=a=b", ("goal_value", "a=b")),
        ("yclid=", ("yclid", "")),
    ],
)
def test_a_field_is_goalposts_name_and_the_senders(text: str, field: tuple[str, str]) -> None:
    assert parse_field(text) == field


@pytest.mark.parametrize("text", ["ym_uid", "clientid=x", "=x", f"ym_uid={'x' * 257}"])
def test_what_is_no_field_is_refused(text: str) -> None:
    with pytest.raises(BadRule, match=r"NAME=FIELD|longer than"):
        parse_field(text)
