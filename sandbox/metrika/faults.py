"""Scripted faults: which request fails, how, and how often. Pure: rules in; the rule that applies and the rest out."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.metrika.configuration import problems
from sandbox.metrika.refusals import INVALID_TOKEN, Refusal, refusal


class Operation(StrEnum):
    """What a request asks for, as rules and counters name it."""

    UPLOAD = "upload"
    LIST = "list"
    DETAIL = "detail"
    GOALS = "goals"
    TOKEN = "token"  # noqa: S105 -- the name of an operation


class Fault(StrEnum):
    """How a request fails. Unless the name says otherwise nothing is done with the request."""

    REFUSE = "refuse"
    INTERNAL_ERROR = "500"
    TIMEOUT = "504"
    TOO_MANY_REQUESTS = "429"
    ENHANCE_YOUR_CALM = "420"
    REJECT = "reject"
    FORBIDDEN = "forbidden"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 -- the name of a fault
    HANG = "hang"
    """Read the request, wait, then serve it as usual if the client is still there; otherwise it never happened."""
    CUT_BEFORE = "cut_before"
    """Close the connection without reading the body."""
    CUT_AFTER_ACCEPT = "cut_after_accept"
    """Do the work, then close the connection without an answer."""
    HANG_AFTER_ACCEPT = "hang_after_accept"
    """Do the work, then wait before answering."""
    TIMEOUT_AFTER_ACCEPT = "504_after_accept"
    """Do the work, but answer 504."""
    MALFORMED = "malformed"
    """Do the work, but answer 200 with JSON that breaks off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The next `times` requests (`None`: all) that match, after the first `skip`, fail with `fault`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    match: Operation
    fault: Fault
    counter: int | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    skip: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0)] = 30.0  # how long the hanging faults hang


class InvalidRules(ValueError):
    """The list of rules can't be understood; the text names the field."""


RULES = TypeAdapter(tuple[Rule, ...])


def parse_rules(body: bytes) -> tuple[Rule, ...]:
    """Rules from a JSON list; raises `InvalidRules`."""
    try:
        return RULES.validate_json(body)
    except ValidationError as error:
        raise InvalidRules(problems(error)) from error


def applied(rules: tuple[Rule, ...], operation: Operation, counter: int | None) -> tuple[Rule | None, tuple[Rule, ...]]:
    """The first rule that matches the request, and the rules as they stand after it."""
    for position, rule in enumerate(rules):
        if rule.match is not operation or (rule.counter is not None and rule.counter != counter):
            continue
        if rule.skip:
            rules = (*rules[:position], replace(rule, skip=rule.skip - 1), *rules[position + 1 :])
            continue
        return rule, (*rules[:position], *_left_of(rule), *rules[position + 1 :])
    return None, rules


def _left_of(rule: Rule) -> tuple[Rule, ...]:
    if rule.times is None:
        return (rule,)
    return (replace(rule, times=rule.times - 1),) if rule.times > 1 else ()


REFUSALS: dict[Fault, Refusal] = {
    Fault.REFUSE: refusal("backend_error", "Backend error"),
    Fault.INTERNAL_ERROR: refusal("internal_error", "Internal server error"),
    Fault.TIMEOUT: refusal("timeout", "Timeout"),
    Fault.TIMEOUT_AFTER_ACCEPT: refusal("timeout", "Timeout"),
    Fault.TOO_MANY_REQUESTS: refusal("quota_requests_by_ip", "Too many requests"),
    Fault.ENHANCE_YOUR_CALM: refusal("quota_requests_by_ip", "Too many requests", status=420),
    Fault.REJECT: refusal("invalid_uploading", "Invalid uploading: refused by a scripted fault"),
    Fault.FORBIDDEN: refusal("access_denied", "Access is denied"),
    Fault.INVALID_TOKEN: INVALID_TOKEN,
}
"""The answer of every fault that is just an error answer."""
