"""Megabytes of anything cost a moment, and the record behind them is read as if nothing had been."""

from __future__ import annotations

import time

import pytest

from schemas.codec import Undecodable, frame
from schemas.contracts import CONTRACTS, WEBHOOK_CONFIGURATIONS
from tests.unit.schemas.examples import OUR_SCHEMA_ID, codec_of, contract_of, examples, has_schema, record_of

# What the broker takes; and seconds of CPU time, because other work shares the machine.
BYTES = 3 * 1024 * 1024
SECONDS = 1.0
# As a varint, three million: so many items, or a length of so many bytes.
MILLIONS = b"\x80\x9b\xee\x02"
PATTERNS = {
    "ff": b"\xff" * BYTES,
    "zeros": b"\0" * BYTES,
    "twos": b"\2" * BYTES,
    "7f": b"\x7f" * BYTES,
    "80": b"\x80" * BYTES,
    "a length": MILLIONS + b"a" * BYTES,
    "lengths": MILLIONS * (BYTES // 4),
    "negative": b"\1" * BYTES,
    "ends": (b"\x80" * 9 + b"\1") * (BYTES // 10),
}
CONTRACTS_BY_TOPIC = {contract.topic.name: contract for contract in CONTRACTS}


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@pytest.mark.parametrize("topic", sorted(CONTRACTS_BY_TOPIC))
def test_megabytes_of_anything_are_refused_in_a_moment(topic: str, pattern: str) -> None:
    codec = codec_of(CONTRACTS_BY_TOPIC[topic])
    good = next(example for example in examples("good_") if example.topic == topic) if _has_good(topic) else None

    for body in (PATTERNS[pattern], _middle(topic) + PATTERNS[pattern]):
        began = time.process_time()
        with pytest.raises(Undecodable):
            codec.decode(frame(OUR_SCHEMA_ID, body))
        assert time.process_time() - began < SECONDS

    if good is not None:
        assert codec.decode(codec.encode(record_of(good))) == record_of(good)


def _has_good(topic: str) -> bool:
    return any(example.topic == topic for example in examples("good_"))


def _middle(topic: str) -> bytes:
    """The first half of a good record, so that the pattern is met inside of one."""
    for example in examples("good_"):
        if example.topic == topic and has_schema(example):
            value = codec_of(contract_of(topic)).encode(record_of(example))
            return value[5 : len(value) // 2]
    return b""


def test_a_webhook_of_a_megabyte_is_refused_before_it_becomes_a_million_objects() -> None:
    codec = codec_of(WEBHOOK_CONFIGURATIONS)

    with pytest.raises(Undecodable, match="bytes"):
        codec.decode(frame(OUR_SCHEMA_ID, b"\0" * 1024 * 1024))
