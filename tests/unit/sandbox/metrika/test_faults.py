"""Scripted faults: a rule applies where and as often as it says."""

import pytest

from sandbox.metrika.faults import EXPLAINED, Fault, InvalidRules, Operation, Rule, applied, parse_rules


def rule(fault: Fault, **over: object) -> Rule:
    return Rule(**{"match": Operation.UPLOAD, "fault": fault, **over})  # type: ignore[arg-type]  # any subset of fields


def faults_of(rules: tuple[Rule, ...], requests: list[tuple[Operation, int | None]]) -> list[Fault | None]:
    happened = []
    for operation, counter in requests:
        found, rules = applied(rules, operation, counter)
        happened.append(found.fault if found else None)
    return happened


def test_a_rule_applies_as_often_as_it_says_and_then_the_next_one_does() -> None:
    rules = (rule(Fault.UNAVAILABLE, times=2), rule(Fault.CUT_BEFORE))

    assert faults_of(rules, [(Operation.UPLOAD, 1)] * 4) == [
        Fault.UNAVAILABLE,
        Fault.UNAVAILABLE,
        Fault.CUT_BEFORE,
        None,
    ]


def test_a_rule_leaves_other_operations_and_other_counters_alone() -> None:
    rules = (rule(Fault.UNAVAILABLE, counter=7),)

    assert faults_of(rules, [(Operation.LIST, 7), (Operation.UPLOAD, 8), (Operation.UPLOAD, 7)]) == [
        None,
        None,
        Fault.UNAVAILABLE,
    ]


def test_a_rule_can_let_requests_pass_first_and_can_last_for_ever() -> None:
    rules = (rule(Fault.UNAVAILABLE, skip=2, times=None),)

    assert faults_of(rules, [(Operation.UPLOAD, 1)] * 5) == [None, None, *[Fault.UNAVAILABLE] * 3]


@pytest.mark.parametrize("name", ["500", "502", "503", "504", "429", "420", "hang", "cut_before", "cut_after_accept"])
def test_rules_are_read_from_json(name: str) -> None:
    (parsed,) = parse_rules(f'[{{"match": "upload", "fault": "{name}", "counter": 5, "times": 3}}]'.encode())

    assert parsed == rule(Fault(name), counter=5, times=3)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'[{"match":"upload"}]', b'[{"match":"x","fault":"500"}]', b'[{"fault":"500","probability":2}]'],
)
def test_rules_that_cannot_be_read_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRules):
        parse_rules(body)


def test_a_rule_without_a_match_is_about_every_operation() -> None:
    rules = (rule(Fault.INTERNAL_ERROR, match=None, times=2),)

    assert faults_of(rules, [(Operation.LIST, 7), (Operation.TOKEN, None), (Operation.UPLOAD, 8)]) == [
        Fault.INTERNAL_ERROR,
        Fault.INTERNAL_ERROR,
        None,
    ]


def test_random_faults_come_about_as_often_as_their_probability_and_the_same_for_the_same_seed() -> None:
    asked: list[tuple[Operation, int | None]] = [(Operation.UPLOAD, 1)] * 1000

    def happened(seed: int) -> list[Fault | None]:
        return faults_of((rule(Fault.RANDOM, probability=0.2, seed=seed, times=None),), asked)

    first = happened(7)
    assert 150 < sum(fault is not None for fault in first) < 250
    assert len(set(first)) > 10
    assert Fault.RANDOM not in first
    assert happened(7) == first
    assert happened(8) != first
    chosen = rule(Fault.RANDOM, among=(Fault.TIMEOUT, Fault.MALFORMED), times=None)
    assert set(faults_of((chosen,), asked)) == {Fault.TIMEOUT, Fault.MALFORMED}


def test_every_fault_is_explained() -> None:
    assert set(EXPLAINED) == set(Fault)


def test_a_rule_that_lets_a_request_pass_leaves_it_to_the_next_rule() -> None:
    rules = (rule(Fault.TIMEOUT, probability=0.0, times=None), rule(Fault.MALFORMED))

    assert faults_of(rules, [(Operation.UPLOAD, 1)] * 2) == [Fault.MALFORMED, None]
