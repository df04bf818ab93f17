"""Dataclasses and Avro schemas say the same: a field that only one of them has would be lost or would not encode."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from schemas.contracts import CONTRACTS, Contract
from schemas.events import GoalRule
from schemas.topics import OUTCOMES, TOPICS


def _fields_of(contract: Contract[Any]) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = json.loads(contract.schema_text)["fields"]
    return fields


def _by_topic(contract: Contract[Any]) -> str:
    return contract.topic.name


@pytest.mark.parametrize("contract", CONTRACTS, ids=_by_topic)
def test_a_schema_has_exactly_the_fields_of_its_dataclass(contract: Contract[Any]) -> None:
    assert {field["name"] for field in _fields_of(contract)} == {
        part.name for part in dataclasses.fields(contract.record_type)
    }


@pytest.mark.parametrize("contract", CONTRACTS, ids=_by_topic)
def test_what_may_be_absent_has_a_default_in_the_schema_and_in_the_dataclass(contract: Contract[Any]) -> None:
    optional = {field["name"] for field in _fields_of(contract) if "default" in field}
    nullable = {field["name"] for field in _fields_of(contract) if isinstance(field["type"], list)}
    parts = {part.name: part for part in dataclasses.fields(contract.record_type)}
    required = {
        name
        for name, part in parts.items()
        if part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING
    }

    assert nullable <= optional
    assert not optional & required
    assert {parts[name].default for name in nullable} <= {None}


@pytest.mark.parametrize("contract", CONTRACTS, ids=_by_topic)
def test_every_field_is_explained_to_other_teams(contract: Contract[Any]) -> None:
    assert all(field.get("doc") for field in _fields_of(contract))
    assert json.loads(contract.schema_text)["doc"]


def test_a_goal_rule_has_exactly_the_fields_of_its_schema() -> None:
    webhook = next(contract for contract in CONTRACTS if contract.topic.schema == "webhook.avsc")
    rules = next(field for field in _fields_of(webhook) if field["name"] == "rules")

    assert {field["name"] for field in rules["type"]["items"]["fields"]} == {
        part.name for part in dataclasses.fields(GoalRule)
    }


def test_an_enumeration_can_grow_without_breaking_its_readers() -> None:
    outcome = next(contract for contract in CONTRACTS if contract.topic is OUTCOMES)
    kind = next(field for field in _fields_of(outcome) if field["name"] == "outcome")["type"]

    assert kind["default"] in kind["symbols"]


def test_every_topic_with_a_schema_has_a_contract() -> None:
    assert {contract.topic.name for contract in CONTRACTS} == {topic.name for topic in TOPICS if topic.schema}
