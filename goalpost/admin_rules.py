"""Goal rules as people write them: ``STAGE=goal[:value[:currency]]``. Pure."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from schemas.events import GoalRule
from streams.goals import FORBIDDEN_CHARACTERS

# What the schema's decimal(18, 4) holds.
_STEP: Final = Decimal("0.0001")
_LIMIT: Final = Decimal(10) ** 14
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class BadRule(ValueError):
    """The text is no goal rule; the message says what is wrong with it."""


def parse_rule(text: str) -> GoalRule:
    """Return the rule that ``text`` describes; the stage may contain ``=``, as goals may not.

    Raises:
        BadRule: it describes none.
    """
    stage, separator, rest = text.rpartition("=")
    if not separator or not stage.strip():
        raise BadRule(f"{text!r} is not of the form STAGE=goal[:value[:currency]]")
    goal, *others = rest.split(":")
    if len(others) > 2:
        raise BadRule(f"{text!r} has more than goal, value and currency behind the '='")
    value = others[0] if others and others[0] else None
    currency = others[1] if len(others) > 1 and others[1] else None
    return GoalRule(
        stage=stage.strip(),
        goal=parse_goal(goal),
        value=None if value is None else _value(value),
        currency=None if currency is None else parse_currency(currency),
    )


def parse_goal(text: str) -> str:
    """Return a goal identifier that Metrika accepts.

    Raises:
        BadRule: it would not.
    """
    goal = text.strip()
    if not goal or any(character in goal for character in FORBIDDEN_CHARACTERS):
        raise BadRule(f"{text!r} is no goal identifier: it must not be empty nor contain any of {FORBIDDEN_CHARACTERS}")
    return goal


def parse_currency(text: str) -> str:
    """Return a currency of three capital letters.

    Raises:
        BadRule: it is none.
    """
    currency = text.strip().upper()
    if not _CURRENCY.fullmatch(currency):
        raise BadRule(f"{text!r} is no currency: three letters of ISO 4217, for example RUB")
    return currency


def _value(text: str) -> Decimal:
    try:
        value = Decimal(text.strip())
        exact = value.quantize(_STEP)
    except InvalidOperation as exc:
        raise BadRule(f"{text!r} is no amount; write it like 1500 or 1500.50") from exc
    if exact != value or abs(value) >= _LIMIT:
        raise BadRule(f"{text!r} is no amount with at most 4 decimals below 10^14")
    return exact
