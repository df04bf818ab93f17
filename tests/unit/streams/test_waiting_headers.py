"""Headers of the waiting room that nobody of ours has written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.codec import Undecodable
from schemas.records import Incoming
from schemas.topics import RAW, WAITING
from streams.waiting import first_ticket, occasion_of, released_by, ticket_of, waiting_record

_RAW = Incoming(topic=RAW.name, partition=3, offset=7, timestamp=1, key=b"s:1", value=b"v")
_HEADERS = dict(waiting_record(_RAW, first_ticket(_RAW, now=1, due=2)).headers)


@pytest.mark.parametrize("name", sorted(_HEADERS))
@pytest.mark.parametrize("number", [b"1" + b"0" * 30, b"-1", b"nan", b""])
def test_a_number_that_the_state_cannot_hold_is_a_bad_record_and_no_crash(name: str, number: bytes) -> None:
    with pytest.raises(Undecodable, match=name):
        ticket_of(tuple({**_HEADERS, name: number}.items()))


@pytest.mark.parametrize("name", ["waiting.attempt", "waiting.raw.partition"])
def test_what_becomes_an_avro_int_has_its_limit(name: str) -> None:
    with pytest.raises(Undecodable, match=name):
        ticket_of(tuple({**_HEADERS, name: b"2147483648"}.items()))


def test_the_other_readers_have_the_same_limits() -> None:
    with pytest.raises(Undecodable):
        released_by((("waiting.released", b"9" * 30),))
    with pytest.raises(Undecodable):
        occasion_of(replace(_RAW, headers=(("waiting.over", b"-98"),)))


def test_the_next_delay_stands_beside_the_one_it_replaces_whatever_the_headers_say() -> None:
    ticket = ticket_of(tuple({**_HEADERS, "waiting.raw.partition": b"9999"}.items()))
    waiting = Incoming(topic=WAITING.name, partition=3, offset=11, timestamp=1, key=b"s:1", value=b"v")

    following = waiting_record(replace(_RAW, partition=9999), ticket.again(5), replaces=waiting)

    assert following.partition == 3
    assert dict(following.headers)["waiting.released"] == b"11"
