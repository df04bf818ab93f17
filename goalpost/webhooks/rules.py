"""Goal rules and fields as people write them: ``STAGE=goal[:value[:currency]]``, ``NAME=FIELD``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from producers.dialects.contract import FIELDS
from schemas.characters import control_in, without_invisible
from schemas.currencies import NoCurrency, chosen, currencies_named
from schemas.events import GoalRule
from streams.goals import FORBIDDEN_CHARACTERS

# What the schema's decimal(18, 4) holds.
_STEP: Final = Decimal("0.0001")
_LIMIT: Final = Decimal(10) ** 14
_PATH_LIMIT: Final = 256
_CODE_LIMIT: Final = 16

# As of a goal that a sender names: what is longer no index of the database holds.
_GOAL_LIMIT: Final = 256


class BadRule(ValueError):
    """The text is no goal rule; the message says what is wrong with it."""


def parse_rule(text: str) -> GoalRule:
    """Return the rule that ``text`` describes; the stage may contain ``=``, as goals may not.

    Raises:
        BadRule: it describes none.
    """
    stage, separator, rest = text.rpartition("=")
    if not separator or not without_invisible(stage).strip():
        raise BadRule(f"{text!r} is not of the form STAGE=goal[:value[:currency]]")
    goal, *others = rest.split(":")
    if len(others) > 2:
        raise BadRule(f"{text!r} has more than goal, value and currency behind the '='")
    value = others[0] if others and others[0] else None
    currency = others[1] if len(others) > 1 and others[1] else None
    return GoalRule(
        stage=without_invisible(stage).strip(),
        goal=parse_goal(goal),
        value=None if value is None else _value(value),
        currency=None if currency is None else parse_currency(currency),
    )


def parse_goal(text: str) -> str:
    """Return a goal identifier that Metrika accepts.

    Raises:
        BadRule: it would not.
    """
    goal = without_invisible(text).strip()
    if not goal or any(character in goal for character in FORBIDDEN_CHARACTERS):
        raise BadRule(f"{text!r} is no goal identifier: it must not be empty nor contain any of {FORBIDDEN_CHARACTERS}")
    if (control := control_in(goal)) is not None:
        raise BadRule(f"{text!r} is no goal identifier: it contains the control character {control}")
    if len(goal) > _GOAL_LIMIT:
        raise BadRule(
            f"the goal identifier {goal[:20]!r}... is longer than {_GOAL_LIMIT} characters; give a shorter one"
        )
    return goal


def parse_currency(text: str) -> str:
    """Return a currency's three letters: RUR is RUB.

    Raises:
        BadRule: it is none of ISO 4217, or was replaced, or the sign stands for several.
    """
    if len(text) > _CODE_LIMIT:
        raise BadRule("a currency has three letters of ISO 4217, for example RUB")
    try:
        return chosen(currencies_named(text), usual=None)
    except NoCurrency as exc:
        raise BadRule(f"{text!r} {exc}") from exc


def parse_field(text: str) -> tuple[str, str]:
    """Return goalpost's name of a field, and the sender's name or path of it; an empty one means the usual places.

    Raises:
        BadRule: goalpost has no such field, or the path is too long to be one.
    """
    name, separator, path = (part.strip() for part in text.partition("="))
    if not separator or name not in FIELDS:
        raise BadRule(f"{text!r} is not of the form NAME=FIELD, where NAME is one of {', '.join(sorted(FIELDS))}")
    if len(path) > _PATH_LIMIT:
        raise BadRule(f"the field of {name} is longer than {_PATH_LIMIT} characters")
    return name, path


def with_rules(before: Iterable[GoalRule], given: Iterable[GoalRule], dropped: Iterable[str]) -> tuple[GoalRule, ...]:
    """Return the rules with the given ones in place of those of the same stages, without those of dropped stages."""
    by_stage = {rule.stage: rule for rule in (*before, *given)}
    return tuple(rule for stage, rule in by_stage.items() if stage not in set(dropped))


def with_fields(before: Mapping[str, str], given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the places of fields with the given ones; an empty one takes a field's place away."""
    return {name: path for name, path in {**before, **dict(given)}.items() if path}


def _value(text: str) -> Decimal:
    try:
        value = Decimal(text.strip())
        exact = value.quantize(_STEP)
    except InvalidOperation as exc:
        raise BadRule(f"{text!r} is no amount; write it like 1500 or 1500.50") from exc
    if exact != value or abs(value) >= _LIMIT:
        raise BadRule(f"{text!r} is no amount with at most 4 decimals below 10^14")
    return exact
