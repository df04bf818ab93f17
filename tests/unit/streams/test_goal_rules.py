"""Which rule of a webhook gives an event its goal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.events import ANY_STAGE, GoalRule
from streams.goals import Goal, goal_of
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
