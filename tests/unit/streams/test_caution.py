"""The join waits where nearly everything would become a dead letter, and goes on when that is mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from runtime.breaker import Breaker, Limits
from runtime.lifecycle import Heartbeat, Stop
from schemas.codec import Undecodable
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.events import Session
from schemas.identity import session_key
from schemas.records import Incoming, Outgoing
from schemas.topics import CONVERSIONS, RAW, SESSIONS, WAITING
from streams.caution import Caution
from streams.letters import letter
from streams.patience import Patience, StoppedWaiting
from streams.state.ingest import Ingest, ingested
from tests.unit.streams.builders import SESSION_CODEC, session

GOOD = Outgoing(topic=CONVERSIONS.name, key=None, value=b"")
RELEASE = Outgoing(topic=WAITING.name, key=None, value=None)
REASON = Reason(error_class=ErrorClass.WEBHOOK_UNKNOWN, stage=Stage.RESOLVE, message="unknown")
BAD = letter(
    Incoming(topic=RAW.name, partition=0, offset=0, timestamp=0, key=None, value=b"", headers=()), REASON, now=0
)


class Impatient:
    """A stop that is asked for after so many waits, which take no time."""

    def __init__(self, waits: int) -> None:
        self.waits = waits
        self.slept: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.slept.append(seconds)
        return len(self.slept) > self.waits


def _caution(stop: Impatient) -> tuple[Caution, Patience]:
    patience = Patience(cast(Stop, stop), Heartbeat())
    return Caution(Breaker(Limits(run=3, share=1), lambda: 0.0), patience), patience


def test_a_few_letters_pass() -> None:
    caution, _ = _caution(Impatient(0))

    assert caution(lambda: [BAD, BAD, GOOD]) == [BAD, BAD, GOOD]


def test_a_wall_is_decided_again_until_it_is_none() -> None:
    stop = Impatient(5)
    caution, patience = _caution(stop)
    decisions = iter([[BAD] * 4, [BAD] * 4, [GOOD] * 4])
    obstacles: list[str] = []

    def decide() -> Sequence[Outgoing]:
        obstacles.extend(patience.obstacles.values())
        return next(decisions)

    assert caution(decide) == [GOOD] * 4
    assert stop.slept == [30.0, 30.0]
    assert "4 records in a row" in obstacles[0]
    assert patience.obstacles == {}


def test_releases_of_waiting_records_are_no_decisions() -> None:
    caution, _ = _caution(Impatient(0))

    with pytest.raises(StoppedWaiting):
        caution(lambda: [BAD, RELEASE] * 4)


def test_a_foreign_header_is_no_letter() -> None:
    caution, _ = _caution(Impatient(0))
    waits = Outgoing(topic=WAITING.name, key=None, value=b"", headers=(("dlq.error.class", b"anything"),))

    assert caution(lambda: [waits] * 4) == [waits] * 4


def _session(number: int, value: bytes) -> Incoming:
    key = session_key(str(number))
    return Incoming(topic=SESSIONS.name, partition=0, offset=number, timestamp=0, key=key, value=value, headers=())


class _Written:
    """A topic of sessions that cannot be decoded until somebody mends that, and what becomes of it."""

    def __init__(self) -> None:
        self.mended = False

    def decode(self, value: bytes | None) -> Session:
        if not self.mended:
            raise Undecodable("its schema was changed by mistake")
        return SESSION_CODEC.decode(value)

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [None for _ in keys]


def test_a_wall_of_sessions_is_taken_in_when_its_cause_is_mended_and_none_becomes_a_letter() -> None:
    world, stop = _Written(), Impatient(5)
    caution, patience = _caution(stop)
    good = SESSION_CODEC.encode(session(session_id="s"))
    records = [_session(number, good) for number in range(4)]
    obstacles: list[str] = []

    def take() -> Ingest:
        obstacles.extend(patience.obstacles.values())
        world.mended = len(stop.slept) == 2
        return ingested(records, world, world.decode, now=0)

    found = caution.taken_in(len(records), take)

    assert (len(found.changes), found.letters, stop.slept) == (4, [], [30.0, 30.0])
    assert "4 records in a row" in obstacles[0]
