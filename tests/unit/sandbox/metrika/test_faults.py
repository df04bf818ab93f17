"""Scripted faults: a rule applies where and as often as it says."""

import pytest

from sandbox.metrika.faults import Fault, InvalidRules, Operation, Rule, applied, parse_rules


def rule(fault: Fault, **over: object) -> Rule:
    return Rule(**{"match": Operation.UPLOAD, "fault": fault, **over})  # type: ignore[arg-type]  # any subset of fields


def faults_of(rules: tuple[Rule, ...], requests: list[tuple[Operation, int | None]]) -> list[Fault | None]:
    happened = []
    for operation, counter in requests:
        found, rules = applied(rules, operation, counter)
        happened.append(found.fault if found else None)
    return happened


def test_a_rule_applies_as_often_as_it_says_and_then_the_next_one_does() -> None:
    rules = (rule(Fault.REFUSE, times=2), rule(Fault.CUT_BEFORE))

    assert faults_of(rules, [(Operation.UPLOAD, 1)] * 4) == [Fault.REFUSE, Fault.REFUSE, Fault.CUT_BEFORE, None]


def test_a_rule_leaves_other_operations_and_other_counters_alone() -> None:
    rules = (rule(Fault.REFUSE, counter=7),)

    assert faults_of(rules, [(Operation.LIST, 7), (Operation.UPLOAD, 8), (Operation.UPLOAD, 7)]) == [
        None,
        None,
        Fault.REFUSE,
    ]


def test_a_rule_can_let_requests_pass_first_and_can_last_for_ever() -> None:
    rules = (rule(Fault.REFUSE, skip=2, times=None),)

    assert faults_of(rules, [(Operation.UPLOAD, 1)] * 5) == [None, None, *[Fault.REFUSE] * 3]


@pytest.mark.parametrize("name", ["refuse", "500", "504", "429", "420", "hang", "cut_before", "cut_after_accept"])
def test_rules_are_read_from_json(name: str) -> None:
    (parsed,) = parse_rules(f'[{{"match": "upload", "fault": "{name}", "counter": 5, "times": 3}}]'.encode())

    assert parsed == rule(Fault(name), counter=5, times=3)


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"match":"upload"}]', b'[{"match":"x","fault":"500"}]'])
def test_rules_that_cannot_be_read_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRules):
        parse_rules(body)
