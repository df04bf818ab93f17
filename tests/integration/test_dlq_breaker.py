"""A wall of rejects on a real broker: the stage stops before the first letter, and goes on when the cause is mended."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from goalpost.cluster import spans
from runtime import kafka
from runtime.breaker import Breaker, Limits, TooManyRejects
from runtime.lifecycle import Heartbeat, Stop
from sandbox.stack import Addresses
from schemas.codec import Undecodable
from schemas.records import Incoming, Outgoing
from schemas.topics import CONVERSIONS
from sinks.consumer import SinkLoop
from sinks.contract import Item, Refused
from tests.integration.offsets import finish

RECORDS = 600


class Fussy:
    """A sink that cannot read anything until its cause is mended."""

    name = "test"

    def __init__(self) -> None:
        self.mended = False
        self.taken = 0

    def open(self) -> None:
        """There is nothing to reach."""

    def probe(self) -> None:
        """There is nothing to ask."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def decode(self, record: Incoming) -> bytes | None:
        """Refuse everything, or nothing."""
        if not self.mended:
            raise Undecodable("its schema was changed by mistake")
        return record.value

    def write(self, batch: Sequence[Item[bytes]]) -> Sequence[Refused]:
        """Take everything."""
        self.taken += len(batch)
        return ()


def _until(look: Callable[[], object], wanted: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def _letters(servers: str) -> int:
    return sum(end for _, end in spans(servers, [CONVERSIONS.dead_letters]).values())


def test_a_wall_of_rejects_becomes_no_letters_and_passes_when_its_cause_is_mended(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TooManyRejects, "pause_seconds", 0.5)
    servers, group, stop, sink = stack.kafka_bootstrap_servers, f"test-{uuid.uuid4()}", Stop(), Fussy()
    finish(servers, group, CONVERSIONS)
    sender = kafka.Sender(kafka.producer(servers, client_id="test-breaker"))
    sender.send(Outgoing(topic=CONVERSIONS.name, key=b"k", value=b"garbage") for _ in range(RECORDS))
    before = _letters(servers)
    loop = SinkLoop[bytes](
        partial(kafka.consumer, servers, group=group, client_id="test", says_ends=True),
        sink,
        sender,
        topics=(CONVERSIONS,),
        batch_rows=2 * RECORDS,
        stop=stop,
        heartbeat=Heartbeat(),
        group=group,
        breaker=Breaker(Limits(run=1, share=1), time.monotonic),  # one may arrive before the others
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        _until(lambda: "TooManyRejects" in loop.obstacles(), True)
        assert "records in a row are refused (mostly undecodable)" in loop.obstacles()["TooManyRejects"]
        assert _letters(servers) <= before + 1

        sink.mended = True

        _until(lambda: sink.taken >= RECORDS - 1, True)
        _until(loop.obstacles, {})
    finally:
        stop.request()
        thread.join(30)
    assert sink.taken + _letters(servers) == RECORDS + before
