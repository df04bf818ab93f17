"""The golden examples of schemas/examples as values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import schemas.contracts
from schemas.codec import Codec, UnknownSchemaId
from schemas.contracts import CONTRACTS, Contract
from schemas.events import GoalRule
from schemas.records import Incoming
from schemas.topics import TOPICS

FOLDER = Path(schemas.contracts.__file__).parent / "examples"
OUR_SCHEMA_ID = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One file: its topic, its name without the ending, its content."""

    topic: str
    name: str
    content: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.topic}/{self.name}"


def examples(prefix: str) -> Iterator[Example]:
    """Yield the files whose name begins with ``prefix``, of every topic."""
    for topic in TOPICS:
        for path in sorted((FOLDER / topic.name).glob(f"{prefix}*.json")):
            yield Example(topic=topic.name, name=path.stem, content=json.loads(path.read_text(encoding="utf-8")))


def contract_of(topic: str) -> Contract[Any]:
    """Return the contract of a topic with a schema."""
    return next(contract for contract in CONTRACTS if contract.topic.name == topic)


def has_schema(example: Example) -> bool:
    """Tell whether the example's topic has a schema."""
    return any(contract.topic.name == example.topic for contract in CONTRACTS)


def codec_of(contract: Contract[Any]) -> Codec[Any]:
    """Return the topic's codec as if the registry held no other schema."""
    return contract.codec(schema_id=OUR_SCHEMA_ID, foreign_schema=_unknown)


def _unknown(schema_id: int) -> str:
    raise UnknownSchemaId(schema_id)


def record_of(example: Example) -> Any:
    """Return a good example's record."""
    return _built(contract_of(example.topic).record_type, example.content["record"])


def _built(record_type: type[Any], values: dict[str, Any]) -> Any:
    kinds = {part.name: str(part.type) for part in fields(record_type)}
    return record_type(**{name: _value(kinds[name], value) for name, value in values.items()})


def _value(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if "GoalRule" in kind:
        return tuple(_built(GoalRule, rule) for rule in value)
    if kind.startswith("tuple"):
        return tuple(value)
    if kind.startswith("bytes"):
        return value.encode()
    return Decimal(value) if kind.startswith("Decimal") else value


def letter_record(example: Example, *, offset: int = 0) -> Incoming:
    """Return an example of a dead letter as it stands in its topic."""
    content = example.content
    return Incoming(
        topic=example.topic,
        partition=0,
        offset=offset,
        timestamp=1_767_315_600_000,
        key=content["key"].encode(),
        value=bytes.fromhex(content["hex"]),
        headers=tuple((name, text.encode()) for name, text in content["headers"].items()),
    )
