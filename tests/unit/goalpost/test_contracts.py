"""What goalpost promises to other teams is written down, valid, and cannot be broken unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from goalpost.contracts.__main__ import document
from goalpost.contracts.compatibility import breaches
from schemas.topics import TOPICS

ASYNCAPI_SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.schema.json")
RELEASE = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "price", "type": "long"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "colour", "type": ["null", "string"], "default": None, "deprecated": "since 0.1.0; use paint"},
        {"name": "weight", "type": "long", "deprecated": "since 0.1.0; use mass"},
    ],
}

Fields = list[dict[str, Any]]


def _found(change: Callable[[Fields], object]) -> list[str]:
    """What the check says of a release and the same schema after ``change``."""
    today = json.loads(json.dumps(RELEASE))
    change(today["fields"])
    releases = {"0.1.0": {"sale.avsc": json.dumps(RELEASE)}}
    return [str(breach) for breach in breaches({"sale.avsc": json.dumps(today)}, releases)]


def _without(name: str) -> Callable[[Fields], object]:
    return lambda fields: fields.remove(next(field for field in fields if field["name"] == name))


def test_asyncapi_yaml_is_a_valid_asyncapi_document() -> None:
    validator = Draft7Validator(json.loads(ASYNCAPI_SCHEMA.read_text(encoding="utf-8")))

    assert [error.message for error in validator.iter_errors(yaml.safe_load(document()))] == []


def test_asyncapi_yaml_promises_something_of_every_topic() -> None:
    channels = yaml.safe_load(document())["channels"]

    assert set(channels) == {topic.name for topic in TOPICS}
    for name, channel in channels.items():
        assert all(channel[f"x-{promise}"] for promise in ("key", "ordering", "repeats", "retention")), name


def test_an_unchanged_schema_keeps_its_promise() -> None:
    assert _found(lambda fields: None) == []


def test_a_new_field_with_a_default_keeps_the_promise() -> None:
    assert _found(lambda fields: fields.append({"name": "mass", "type": ["null", "long"], "default": None})) == []


def test_a_new_field_without_a_default_is_a_breach() -> None:
    (breach,) = _found(lambda fields: fields.append({"name": "mass", "type": "long"}))

    assert "sale.avsc breaks the promise of release 0.1.0" in breach
    assert '+mass: "long"' in breach


def test_another_type_is_a_breach_whose_difference_can_be_read() -> None:
    breach, *_ = _found(lambda fields: fields[1].update(type="string"))

    assert '-price: "long"' in breach
    assert '+price: "string"' in breach


def test_a_field_may_go_after_it_was_deprecated() -> None:
    assert _found(_without("colour")) == []


@pytest.mark.parametrize(
    ("field", "reason"), [("note", "without having been deprecated"), ("weight", "has no default")]
)
def test_a_field_may_not_go_unannounced_or_without_a_default(field: str, reason: str) -> None:
    (breach,) = _found(_without(field))

    assert reason in breach
    assert field in breach


def test_a_schema_may_not_disappear() -> None:
    (breach,) = breaches({}, {"0.1.0": {"sale.avsc": json.dumps(RELEASE)}})

    assert breach.reason == "the schema is gone"
