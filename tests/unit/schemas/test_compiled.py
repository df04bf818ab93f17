"""Readers and writers made for a schema do what fastavro does, byte by byte."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.compiled import number, reader_for, writer_for
from schemas.contracts import CONTRACTS, CONVERSION_OUTCOMES, RESOLVED_CONVERSIONS, WEB_SESSIONS, WEBHOOK_CONFIGURATIONS

PREFIX = b"before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """A field of each kind, and of each kind that may be null."""

    text: str
    data: bytes
    small: int
    large: int
    flag: bool
    moment: int
    money: Decimal
    maybe_text: str | None = None
    maybe_data: bytes | None = None
    maybe_small: int | None = None
    maybe_large: int | None = None
    maybe_flag: bool | None = None
    maybe_moment: int | None = None
    maybe_money: Decimal | None = None


MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}
MOMENT = {"type": "long", "logicalType": "timestamp-millis"}
KINDS: dict[str, Any] = {
    "text": "string",
    "data": "bytes",
    "small": "int",
    "large": "long",
    "flag": "boolean",
    "moment": MOMENT,
    "money": MONEY,
}
SCHEMA = {
    "type": "record",
    "name": "Everything",
    "fields": [{"name": name, "type": kind} for name, kind in KINDS.items()]
    + [{"name": f"maybe_{name}", "type": ["null", kind], "default": None} for name, kind in KINDS.items()],
}
OF_KIND = {
    "text": st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300),
    "data": st.binary(max_size=9000),
    "small": st.integers(-(2**31), 2**31 - 1),
    "large": st.integers(-(2**63), 2**63 - 1),
    "flag": st.booleans(),
    "moment": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**42) | st.sampled_from([2**27, 2**27 - 1, 2**41]),
    "money": st.decimals(min_value=-(10**13), max_value=10**13, places=4),
}
records = st.builds(Everything, **OF_KIND, **{f"maybe_{name}": st.none() | values for name, values in OF_KIND.items()})

_READ, _WRITE = reader_for(Everything, SCHEMA), writer_for(SCHEMA, PREFIX)
# Times as numbers, which is how goalpost has them; decimals as fastavro itself does them.
_FASTAVROS = fastavro.parse_schema(json.loads(json.dumps(SCHEMA).replace(', "logicalType": "timestamp-millis"', "")))


def read(value: bytes, at: int) -> tuple[Everything, int]:
    assert _READ is not None
    return _READ(value, at)


def write(record: Everything) -> bytes:
    assert _WRITE is not None
    return _WRITE(record)


@given(records)
def test_every_byte_is_fastavros(record: Everything) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _FASTAVROS, asdict(record))

    assert write(record) == PREFIX + out.getvalue()
    assert read(write(record), len(PREFIX)) == (record, len(PREFIX) + len(out.getvalue()))


@given(st.binary(max_size=60), records)
def test_what_fastavro_refuses_is_refused_and_what_it_reads_is_read_alike(tail: bytes, record: Everything) -> None:
    """From the middle of a good record on, anything may follow."""
    value = write(record)
    broken = value[: len(value) // 2] + tail
    body = io.BytesIO(broken)
    body.seek(len(PREFIX))
    try:
        expected: Any = fastavro.schemaless_reader(body, _FASTAVROS, None)
    except Exception:  # noqa: BLE001 - fastavro raises a dozen types
        expected = None
    try:
        found, end = read(broken, len(PREFIX))
    except (ValueError, IndexError):
        return  # it refuses more than fastavro does: decimals with too many digits, for one
    if end <= len(broken):
        assert (asdict(found), end) == (expected, body.tell())


@pytest.mark.parametrize(
    ("name", "value"), [("small", 2**31), ("large", 2**63), ("large", -(2**63) - 1), ("moment", 2**63), ("text", None)]
)
def test_what_does_not_fit_the_schema_is_not_written(name: str, value: object) -> None:
    good = {"text": "", "data": b"", "small": 0, "large": 0, "flag": True, "moment": 0, "money": Decimal(0)}
    with pytest.raises((OverflowError, AttributeError)):
        write(Everything(**{**good, name: value}))  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "body",
    [b"\x80" * 11, b"\xff" * 9 + b"\x7f", b"\x01", b"\x02"],
    ids=["endless", "65 bits", "negative length", "cut"],
)
def test_foreign_numbers_are_no_lengths(body: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        read(body, 0)


def test_schemas_with_richer_types_are_left_to_fastavro() -> None:
    made = {
        contract.topic.name: reader_for(contract.record_type, json.loads(contract.schema_text))
        for contract in CONTRACTS
    }

    assert made[WEBHOOK_CONFIGURATIONS.topic.name] is None
    assert made[CONVERSION_OUTCOMES.topic.name] is None
    assert None not in (made[WEB_SESSIONS.topic.name], made[RESOLVED_CONVERSIONS.topic.name])


@pytest.mark.parametrize("first", range(0, 256, 5))
def test_a_number_never_has_more_than_ten_bytes(first: int) -> None:
    """What goes on after that is refused there, so that megabytes of it cost nothing."""
    with pytest.raises(ValueError, match="64 bits"):
        number(bytes([first | 128]) + b"\xff" * 3_000_000, 0)
    assert number(bytes([first | 128]) + b"\x80" * 8 + b"\0", 0)[1] == 10
