"""Which rule of a webhook gives an event its goal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.events import ANY_STAGE, GoalRule
from streams.goals import BadGoal, Goal, goal_of
from tests.unit.streams.builders import event, webhook

RULES = (GoalRule(stage=ANY_STAGE, goal="moved", value=Decimal(1)), GoalRule(stage="142", goal="won", value=Decimal(5)))


@pytest.mark.parametrize(
    ("stage", "goal_name", "target", "price", "chosen_by"),
    [
        ("142", None, "won", 5, "stage:142"),
        ("77", None, "moved", 1, "stage:*"),
        (None, None, "moved", 1, "stage:*"),
        ("142", "won", "won", 5, "payload"),
        ("142", "other", "other", 0, "payload"),
    ],
)
def test_the_stages_own_rule_comes_before_that_of_any(
    stage: str | None, goal_name: str | None, target: str, price: int, chosen_by: str
) -> None:
    goal = goal_of(event(stage=stage, goal_name=goal_name, goal_value=None), webhook(rules=RULES))
    assert isinstance(goal, Goal)
    assert (goal.target, goal.price, goal.chosen_by) == (target, Decimal(price), chosen_by)


def test_the_roubles_former_code_is_todays_whoever_has_said_it() -> None:
    rule = GoalRule(stage="142", goal="won", value=Decimal(5), currency="RUR")
    for found in (
        goal_of(event(currency="RUR", goal_value=Decimal(1)), webhook()),
        goal_of(event(currency=None, stage="142", goal_name=None), webhook(rules=(rule,))),
        goal_of(event(currency=None), webhook(default_currency="RUR")),
    ):
        assert isinstance(found, Goal)
        assert found.currency == "RUB"


@pytest.mark.parametrize("invisible", ["\u200b", "\ufeff", "\u202e", "\u00ad"])
def test_no_invisible_character_of_an_older_rule_or_event_goes_to_metrika(invisible: str) -> None:
    for found in (
        goal_of(event(goal_name=f"{invisible}paid{invisible}"), webhook()),
        goal_of(event(goal_name=None), webhook(default_goal=f"pa{invisible}id")),
    ):
        assert isinstance(found, Goal)
        assert found.target == "paid"
    empty = goal_of(event(goal_name=invisible), webhook())
    assert isinstance(empty, BadGoal)


@pytest.mark.parametrize("control", ["\x1b", "\x85", "\x9b", "\u2028"])
def test_a_goal_with_a_control_character_is_none(control: str) -> None:
    found = goal_of(event(goal_name=f"paid{control}x"), webhook())
    assert isinstance(found, BadGoal)
    assert f"U+{ord(control):04X}" in found.problem
