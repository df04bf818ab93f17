"""Scripted faults: which request fails, how, and how often. Pure: rules in; the rule that applies and the rest out."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.metrika.configuration import problems


class Operation(StrEnum):
    """What a request asks for, as rules and counters name it."""

    UPLOAD = "upload"
    LIST = "list"
    DETAIL = "detail"
    GOALS = "goals"
    TOKEN = "token"  # noqa: S105 -- the name of an operation
    ORDERS = "orders"
    ORDERS_LIST = "orders_list"


class Fault(StrEnum):
    """How a request fails. Unless the name says otherwise nothing is done with the request."""

    INTERNAL_ERROR = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    TIMEOUT = "504"
    INTERNAL_ERROR_AFTER_ACCEPT = "500_after_accept"
    UNAVAILABLE_AFTER_ACCEPT = "503_after_accept"
    TIMEOUT_AFTER_ACCEPT = "504_after_accept"
    TOO_MANY_REQUESTS = "429"
    ENHANCE_YOUR_CALM = "420"
    REJECT = "reject"
    UNAUTHORIZED = "unauthorized"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 -- the name of a fault
    FORBIDDEN = "forbidden"
    HANG = "hang"
    HANG_AFTER_ACCEPT = "hang_after_accept"
    CUT_BEFORE = "cut_before"
    CUT_AFTER_ACCEPT = "cut_after_accept"
    CUT_MID_ANSWER = "cut_mid_answer"
    MALFORMED = "malformed"
    NOT_JSON = "not_json"
    RANDOM = "random"


EXPLAINED: dict[Fault, str] = {
    Fault.INTERNAL_ERROR: "500",
    Fault.BAD_GATEWAY: "502 with a proxy's HTML",
    Fault.UNAVAILABLE: "503 backend_error",
    Fault.TIMEOUT: "504 timeout",
    Fault.INTERNAL_ERROR_AFTER_ACCEPT: "do the work, but answer 500",
    Fault.UNAVAILABLE_AFTER_ACCEPT: "do the work, but answer 503",
    Fault.TIMEOUT_AFTER_ACCEPT: "do the work, but answer 504",
    Fault.TOO_MANY_REQUESTS: "429; `error_type` says which quota",
    Fault.ENHANCE_YOUR_CALM: "the same with status 420",
    Fault.REJECT: "400 invalid_uploading",
    Fault.UNAUTHORIZED: "401 unauthorized",
    Fault.INVALID_TOKEN: "403 invalid_token",
    Fault.FORBIDDEN: "403 access_denied",
    Fault.HANG: "read the request, wait `seconds` or for a release, then serve it if the client is still there",
    Fault.HANG_AFTER_ACCEPT: "do the work, then wait `seconds` or for a release before answering",
    Fault.CUT_BEFORE: "close the connection without reading the body",
    Fault.CUT_AFTER_ACCEPT: "do the work, then close the connection without an answer",
    Fault.CUT_MID_ANSWER: "do the work, then close the connection in the middle of the answer",
    Fault.MALFORMED: "do the work, then answer 200 with JSON that breaks off",
    Fault.NOT_JSON: "answer 200 with a proxy's HTML, nothing is done",
    Fault.RANDOM: "one of the others each time (or of those in `among`), by `seed`; the hanging ones only if named",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The next `times` requests (`None`: all) that match, after the first `skip`, fail with `fault`.

    With a `probability` below 1 each of them may also pass; what happens follows from `seed` and the number of requests
    that the rule has met, so a run can be repeated.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    fault: Fault
    match: Operation | None = None
    counter: int | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    skip: Annotated[int, Field(ge=0)] = 0
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int = 0
    among: tuple[Fault, ...] | None = None  # what `random` draws from
    seconds: Annotated[float, Field(ge=0)] = 30.0  # how long the hanging faults hang
    error_type: str | None = None  # of 420, 429 and reject, instead of the usual one
    retry_after: Annotated[int, Field(ge=0)] | None = None  # seconds, as a header; Metrika documents none
    retry_after_as: Literal["seconds", "date"] = "seconds"  # HTTP has both forms of it
    met: Annotated[int, Field(ge=0)] = 0

    def fits(self, operation: Operation, counter: int | None) -> bool:
        """Whether a request is one of those that this rule is about."""
        return self.match in (None, operation) and self.counter in (None, counter)


class InvalidRules(ValueError):
    """The list of rules can't be understood; the text names the field."""


RULES = TypeAdapter(tuple[Rule, ...])

# Not the hanging ones: a random run would mostly wait.
_DRAWN = tuple(fault for fault in Fault if fault not in (Fault.RANDOM, Fault.HANG, Fault.HANG_AFTER_ACCEPT))


def parse_rules(body: bytes) -> tuple[Rule, ...]:
    """Rules from a JSON list; raises `InvalidRules`."""
    try:
        return RULES.validate_json(body)
    except ValidationError as error:
        raise InvalidRules(problems(error)) from error


def applied(rules: tuple[Rule, ...], operation: Operation, counter: int | None) -> tuple[Rule | None, tuple[Rule, ...]]:
    """The first rule that makes the request fail, its fault drawn, and the rules as they stand after it."""
    for position, rule in enumerate(rules):
        if not rule.fits(operation, counter):
            continue
        happening, left = _met(rule)
        rules = (*rules[:position], *left, *rules[position + 1 :])
        if happening is not None:
            return happening, rules
    return None, rules


def _met(rule: Rule) -> tuple[Rule | None, tuple[Rule, ...]]:
    """What the rule does to a request that fits, and what is left of the rule."""
    if rule.skip:
        return None, (replace(rule, skip=rule.skip - 1),)
    dice = random.Random(f"{rule.seed} {rule.met}")  # noqa: S311 -- repeatable on purpose
    happens = dice.random() < rule.probability
    left = replace(rule, met=rule.met + 1)
    if not happens:
        return None, (left,)
    fault = dice.choice(rule.among or _DRAWN) if rule.fault is Fault.RANDOM else rule.fault
    if rule.times is None:
        return replace(rule, fault=fault), (left,)
    return replace(rule, fault=fault), (replace(left, times=rule.times - 1),) if rule.times > 1 else ()
