"""Which goal a conversion reaches and what it is worth: the sender's word, else the webhook's."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from schemas.characters import control_in, without_invisible
from schemas.construct import constructor
from schemas.currencies import current_code
from schemas.events import ANY_STAGE, GoalRule, RawEvent, Webhook

# Metrika's help for JavaScript-event goals: an identifier must not contain any of these.
FORBIDDEN_CHARACTERS: Final = '/\\&#?="'
_FORBIDDEN: Final = frozenset(FORBIDDEN_CHARACTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A goal identifier, its price, and how it was chosen (``payload``, ``stage:<stage>`` or ``default``)."""

    target: str
    price: Decimal
    currency: str | None
    chosen_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadGoal:
    """The identifier that was chosen is none for Metrika; ``problem`` does not quote it."""

    problem: str


_goal = constructor(Goal)


def goal_of(event: RawEvent, webhook: Webhook) -> Goal | BadGoal:
    """Choose the goal of ``event``."""
    rule = _rule_for(event, webhook)
    if event.goal_name:
        target, chosen_by = event.goal_name, "payload"
    elif rule is not None:
        target, chosen_by = rule.goal, f"stage:{rule.stage}"
    else:
        target, chosen_by = webhook.default_goal, "default"
    # The door takes it off as well; a rule or an event may be older than that.
    target = without_invisible(target).strip()
    problem = _problem(target)
    if problem is not None:
        return BadGoal(problem=problem)
    return _goal(
        target=target, price=_price(event, rule), currency=_currency(event, rule, webhook), chosen_by=chosen_by
    )


def _rule_for(event: RawEvent, webhook: Webhook) -> GoalRule | None:
    """The first rule of the event's stage, else of any; none where the sender names another goal than it does."""
    rule = _first_rule(webhook, event.stage) or _first_rule(webhook, ANY_STAGE)
    return rule if rule is not None and event.goal_name in (None, "", rule.goal) else None


def _first_rule(webhook: Webhook, stage: str | None) -> GoalRule | None:
    for rule in webhook.rules:
        if rule.stage == stage:
            return rule
    return None


def _price(event: RawEvent, rule: GoalRule | None) -> Decimal:
    if event.goal_value is not None:
        return event.goal_value
    return rule.value if rule is not None and rule.value is not None else Decimal(0)


def _currency(event: RawEvent, rule: GoalRule | None, webhook: Webhook) -> str | None:
    code = event.currency or (rule.currency if rule is not None else None) or webhook.default_currency
    return None if code is None else current_code(code)


def _problem(target: str) -> str | None:
    if not target:
        return "the goal identifier is empty"
    if (control := control_in(target)) is not None:
        return f"the goal identifier contains the control character {control}"
    if _FORBIDDEN.isdisjoint(target):
        return None
    character = next(character for character in FORBIDDEN_CHARACTERS if character in target)
    return f"the goal identifier contains {character}, which Metrika does not allow"
