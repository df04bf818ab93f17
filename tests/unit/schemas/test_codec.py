"""The wire format: what was written is read again, and nothing else is ever taken for it."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.registry import RegistryUnavailable
from schemas.codec import Undecodable, UnknownSchemaId, frame, framed_schema_id, parse
from schemas.contracts import CONVERSION_OUTCOMES, RAW_EVENTS, RESOLVED_CONVERSIONS
from schemas.events import RawEvent
from tests.unit.schemas.examples import OUR_SCHEMA_ID, Example, codec_of, contract_of, examples, has_schema, record_of

GOOD = [example for example in examples("good_") if has_schema(example)]

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
optional_text = st.none() | text
times = st.integers(min_value=0, max_value=2**48)
raw_events = st.builds(
    RawEvent,
    event_id=text,
    webhook_id=text,
    dialect=text,
    received_at=times,
    occurred_at=times,
    session_id=optional_text,
    ym_uid=optional_text,
    stage=optional_text,
    goal_value=st.none() | st.decimals(min_value=-(10**12), max_value=10**12, places=4),
    order_id=optional_text,
    payload=optional_text,
    body=st.binary(max_size=200),
    query=optional_text,
)


@given(event=raw_events)
def test_every_event_is_read_as_it_was_written(event: RawEvent) -> None:
    wire = codec_of(RAW_EVENTS)

    assert wire.decode(wire.encode(event)) == event


@pytest.mark.parametrize("example", GOOD, ids=str)
def test_a_record_cut_anywhere_is_undecodable(example: Example) -> None:
    wire = codec_of(contract_of(example.topic))
    value = wire.encode(record_of(example))

    for length in range(len(value)):
        with pytest.raises(Undecodable):
            wire.decode(value[:length])


@given(body=st.binary(max_size=300), framed=st.booleans())
def test_foreign_bytes_decode_to_a_record_or_are_undecodable_and_nothing_else_happens(
    body: bytes, framed: bool
) -> None:
    wire = codec_of(RAW_EVENTS)
    value = frame(OUR_SCHEMA_ID, body) if framed else body

    try:
        event = wire.decode(value)
    except Undecodable:
        return
    assert isinstance(event, RawEvent)


@given(event=raw_events, position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_flipped_bit_never_raises_anything_but_undecodable(event: RawEvent, position: int, bit: int) -> None:
    wire = codec_of(RAW_EVENTS)
    value = bytearray(wire.encode(event))
    value[position % len(value)] ^= 1 << bit

    try:
        wire.decode(bytes(value))
    except Undecodable as exc:
        assert exc.reason  # noqa: PT017 - decoding something else is allowed: Avro has no checksum


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"\x00\x00\x00\x00"], ids=["none", "empty", "one", "four"])
def test_a_value_without_a_prefix_is_undecodable(value: bytes | None) -> None:
    with pytest.raises(Undecodable):
        framed_schema_id(value)


def test_the_prefix_is_a_zero_byte_and_the_id_in_four_big_endian_bytes() -> None:
    assert frame(0x01020304, b"x") == b"\x00\x01\x02\x03\x04x"


def _written(schema: str, values: dict[str, Any]) -> bytes:
    """Write as another program would, with a schema that is not ours."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parse(schema), values)
    return frame(2, out.getvalue())


def test_a_record_of_a_newer_producer_is_read_without_the_field_that_is_new() -> None:
    event = record_of(GOOD[0])
    schema = json.loads(RAW_EVENTS.schema_text)
    schema["fields"].append({"name": "phase", "type": ["null", "string"], "default": None})
    newer = json.dumps(schema)
    ours = RAW_EVENTS.codec(schema_id=OUR_SCHEMA_ID, foreign_schema={2: newer}.__getitem__)

    assert ours.decode(_written(newer, {**asdict(event), "phase": "won"})) == event


def test_a_record_of_an_older_producer_gets_the_defaults_of_what_it_lacks() -> None:
    event = record_of(GOOD[0])
    schema = json.loads(RAW_EVENTS.schema_text)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "order_id"]
    older = json.dumps(schema)
    ours = RAW_EVENTS.codec(schema_id=OUR_SCHEMA_ID, foreign_schema={2: older}.__getitem__)

    assert ours.decode(_written(older, asdict(event))) == replace(event, order_id=None)


def test_an_unknown_symbol_of_a_newer_producer_reads_as_unknown() -> None:
    newer = CONVERSION_OUTCOMES.schema_text.replace('"failed"', '"failed","withdrawn"')
    outcome = next(record_of(example) for example in GOOD if example.topic == CONVERSION_OUTCOMES.topic.name)
    ours = CONVERSION_OUTCOMES.codec(schema_id=OUR_SCHEMA_ID, foreign_schema=lambda _id: newer)

    assert ours.decode(_written(newer, {**asdict(outcome), "outcome": "withdrawn"})).outcome == "unknown"


def test_an_outage_of_the_registry_is_not_taken_for_a_bad_record() -> None:
    def unreachable(_schema_id: int) -> str:
        raise RegistryUnavailable("http://registry", "ConnectTimeout")

    ours = RAW_EVENTS.codec(schema_id=1, foreign_schema=unreachable)

    with pytest.raises(RegistryUnavailable):
        ours.decode(frame(2, b"anything"))


def test_a_schema_that_the_registry_does_not_have_is_said_to_be_unknown() -> None:
    with pytest.raises(UnknownSchemaId, match="77"):
        codec_of(RAW_EVENTS).decode(frame(77, b"anything"))


def test_a_foreign_schema_that_is_no_schema_makes_the_record_undecodable() -> None:
    ours = RAW_EVENTS.codec(schema_id=1, foreign_schema=lambda _id: '{"type": "nonsense"}')

    with pytest.raises(Undecodable):
        ours.decode(frame(2, b"anything"))


def test_a_foreign_schema_is_asked_for_once() -> None:
    asked: list[int] = []

    def schema(schema_id: int) -> str:
        asked.append(schema_id)
        return RAW_EVENTS.schema_text

    ours = RAW_EVENTS.codec(schema_id=1, foreign_schema=schema)
    other = RAW_EVENTS.codec(schema_id=2, foreign_schema=schema)
    value = other.encode(record_of(GOOD[0]))

    assert ours.decode(value) == ours.decode(value)
    assert asked == [2]


def test_money_keeps_its_four_decimals() -> None:
    conversion = next(record_of(example) for example in GOOD if example.topic == RESOLVED_CONVERSIONS.topic.name)
    wire = codec_of(RESOLVED_CONVERSIONS)

    assert wire.decode(wire.encode(replace(conversion, price=Decimal("0.0001")))).price == Decimal("0.0001")


def test_times_are_plain_integers() -> None:
    assert type(codec_of(RAW_EVENTS).decode(codec_of(RAW_EVENTS).encode(record_of(GOOD[0]))).received_at) is int
