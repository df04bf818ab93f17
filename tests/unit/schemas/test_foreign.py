"""Schemas of other programs: every evolution of ours is read, and none can cost more than the record that names it."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas.contracts
from schemas.codec import Undecodable, frame
from schemas.contracts import CONTRACTS, CONVERSION_OUTCOMES, RAW_EVENTS, Contract
from schemas.foreign import Inadmissible, admitted
from tests.unit.schemas.examples import OUR_SCHEMA_ID, codec_of, examples, has_schema, record_of

FOREIGN_ID = 77
RELEASES = Path(schemas.contracts.__file__).parent / "releases"


def _record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def _field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind}


def _nested(levels: int) -> Any:
    kind: Any = "int"
    for _ in range(levels):
        kind = {"type": "array", "items": kind}
    return kind


def _doubled(times: int) -> dict[str, Any]:
    """Types that hold the one before twice: a value of the last has two to the power of ``times`` parts."""
    first = _record(_field("a", "null"), name="L0")
    others = [_record(_field("a", f"L{one}"), _field("b", f"L{one}"), name=f"L{one + 1}") for one in range(times)]
    return _record(*(_field(f"l{one}", kind) for one, kind in enumerate([first, *others])))


_ITSELF = _record(_field("next", ["null", "R"]))
_EACH_OTHER = _record(_field("b", _record(_field("a", ["null", "R"]), name="B")))
HARMFUL = {
    "no JSON": "{",
    "nothing": "",
    "deep JSON": "[" * 100_000,
    "5 000 levels": '{"type": "array", "items": ' * 5000 + '"int"' + "}" * 5000,
    "64 levels": json.dumps(_record(_field("a", _nested(64)))),
    "a type in a type in a type": '{"type": ' * 500 + '"int"' + "}" * 500,
    "unions of unions": json.dumps(_record(_field("a", [["null"], "int"]))),
    "a type that holds itself": json.dumps(_ITSELF),
    "types that hold each other": json.dumps(_EACH_OTHER),
    "an array of itself": json.dumps(_record(_field("a", {"type": "array", "items": "R"}))),
    "a map of itself": json.dumps(_record(_field("a", {"type": "map", "values": "R"}))),
    "a billion laughs": json.dumps(_doubled(60)),
    "an array of nulls": json.dumps(_record(_field("a", {"type": "array", "items": "null"}))),
    "an array of empty records": json.dumps(_record(_field("a", {"type": "array", "items": _record(name="E")}))),
    "an array of nothing fixed": json.dumps(
        _record(_field("a", {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}))
    ),
    "items that are mostly nulls": json.dumps(
        _record(
            _field(
                "a",
                {
                    "type": "array",
                    "items": _record(_field("i", "int"), *(_field(f"n{one}", "null") for one in range(1000)), name="I"),
                },
            )
        )
    ),
    "too many fields": json.dumps(_record(*(_field(f"f{one}", "int") for one in range(5000)))),
    "too long": json.dumps({**_record(_field("a", "int")), "doc": "x" * 300_000}),
    "parsed already": json.dumps({**_ITSELF, "__fastavro_parsed__": True, "__named_schemas": {}}),
    "a size that is none": json.dumps(_record(_field("a", {"type": "fixed", "name": "F", "size": -1}))),
    "a size of 5 000 digits": '{"type": "fixed", "name": "F", "size": ' + "9" * 5000 + "}",
    "unknown": json.dumps(_record(_field("a", "goalpost.Nobody"))),
    "declared twice": json.dumps(_record(_field("a", _record(name="R")))),
    "no name": json.dumps({"type": "record", "fields": []}),
    "no fields": json.dumps({"type": "record", "name": "R"}),
    "half a surrogate": '{"type": "record", "name": "\\ud800", "fields": []}',
    "not Avro": '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}',
    "Protobuf": 'syntax = "proto3"; message R {}',
}


@pytest.mark.parametrize("name", sorted(HARMFUL))
def test_a_record_of_a_harmful_schema_is_refused_at_once_and_the_schema_is_looked_at_once(name: str) -> None:
    asked: list[int] = []

    def schema(schema_id: int) -> str:
        asked.append(schema_id)
        return HARMFUL[name]

    codec = RAW_EVENTS.codec(schema_id=OUR_SCHEMA_ID, foreign_schema=schema)
    began = time.process_time()
    for body in (b"\2" * 1_000_000, b"", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1" * 9):
        with pytest.raises(Undecodable, match="schema"):
            codec.decode(frame(FOREIGN_ID, body))

    assert time.process_time() - began < 1
    assert asked == [FOREIGN_ID]


@pytest.mark.parametrize("path", sorted(RELEASES.glob("*/*.avsc")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_schema_that_was_ever_released_is_admitted(path: Path) -> None:
    assert fastavro.parse_schema(admitted(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.topic.name)
def test_a_record_of_a_later_version_of_ours_is_read(contract: Contract[Any]) -> None:
    """With fields of kinds that this version has never seen."""
    later = json.loads(contract.schema_text)
    new = _record(
        _field("list", {"type": "array", "items": ["null", "string"]}),
        _field("map", {"type": "map", "values": {"type": "bytes", "logicalType": "decimal", "precision": 9}}),
        _field("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}),
        _field("hash", {"type": "fixed", "name": "Hash", "size": 2}),
        _field("again", ["null", "Kind"]),
        name="New",
    )
    later["fields"].append(_field("new", new))
    found = [example for example in examples("good_") if has_schema(example) and example.topic == contract.topic.name]
    codec = contract.codec(schema_id=OUR_SCHEMA_ID, foreign_schema=lambda _: json.dumps(later))
    # list of one text, empty map, B, two bytes, B
    extra = b"\2\2\4hi\0\0\2ab\2\2"

    for example in found:
        ours = codec_of(contract).encode(record_of(example))
        assert codec.decode(frame(FOREIGN_ID, ours[5:] + extra)) == record_of(example)


def test_java_leaves_namespaces_out_where_they_are_the_same() -> None:
    text = json.dumps(
        {
            "type": "record",
            "name": "a.b.Outer",
            "fields": [
                _field("one", {"type": "enum", "name": "Inner", "symbols": ["X"]}),
                _field("two", "Inner"),
                _field("three", "a.b.Inner"),
            ],
        }
    )
    schema = fastavro.parse_schema(admitted(text))

    assert fastavro.schemaless_reader(io.BytesIO(b"\0\0\0"), schema, None) == {"one": "X", "two": "X", "three": "X"}


_names = st.sampled_from(
    ["record", "enum", "fixed", "array", "map", "int", "null", "string", "R", "goalpost.R", "", "x"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**33) | _names,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "name", "namespace", "fields", "items", "values", "symbols", "size", "default"]),
            inner | _names,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(_json, st.binary(max_size=40))
def test_whatever_the_registry_gives_is_read_by_or_refused(declared: Any, body: bytes) -> None:
    with contextlib.suppress(Inadmissible):
        admitted(json.dumps(declared))
    codec = CONVERSION_OUTCOMES.codec(schema_id=OUR_SCHEMA_ID, foreign_schema=lambda _: json.dumps(declared))
    with pytest.raises(Undecodable):
        codec.decode(frame(FOREIGN_ID, body))


def test_what_is_remembered_of_foreign_schemas_has_a_limit() -> None:
    codec = RAW_EVENTS.codec(schema_id=OUR_SCHEMA_ID, foreign_schema=lambda _: "{")
    for schema_id in range(2, 1000):
        with pytest.raises(Undecodable):
            codec.decode(frame(schema_id, b""))

    assert len(codec._foreign) <= 256
