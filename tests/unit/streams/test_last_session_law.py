"""Which session is a visitor's last: the latest, in whatever order they came, live, rebuilt, or after compaction."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.lifecycle import Heartbeat
from schemas.events import Session
from schemas.identity import visitor_key
from schemas.records import Incoming, Outgoing
from schemas.topics import SESSIONS
from streams.state.folder import Folder
from streams.state.follower import Follower
from streams.state.reader import Arrived
from tests.unit.streams.builders import NOW, SESSION_CODEC, as_read, session


class Topic:
    """``web.sessions`` of one partition, without a broker: what a follower reads from, and writes put-backs to."""

    def __init__(self, records: Sequence[Incoming], at_once: int, *, live: bool = False) -> None:
        """``at_once`` records come with a poll; ``live`` means that all of them come after the partition is ready."""
        self.records = list(records)
        self.live = live
        self.end = len(self.records)
        self.stop = threading.Event()
        self._at_once = at_once
        self._position = 0

    def ends(self, place: tuple[str, int]) -> tuple[int, int]:
        """First and end."""
        return 0, self.end if place[0] == SESSIONS.name and not self.live else 0

    def read_from(self, positions: dict[tuple[str, int], int]) -> None:
        """Go to a position."""
        self._position = positions[SESSIONS.name, 0]

    def poll(self) -> Arrived:
        """What comes next; once there is nothing left, it is time to stop."""
        coming = [record for record in self.records if record.offset >= self._position][: self._at_once]
        if not coming:
            self.stop.set()
            return Arrived(records={})
        self._position = coming[-1].offset + 1
        return Arrived(records={0: coming})

    def send(self, records: Sequence[Outgoing]) -> None:
        """Append what the follower writes."""
        for record in records:
            self.records.append(as_read(record, self.end, partition=0))
            self.end += 1

    def close(self) -> None:
        """End reading."""

    def compacted(self) -> Topic:
        """The topic as the broker leaves it: of each key the last record, at its offset."""
        kept = {record.key: record for record in self.records}
        topic = Topic(sorted(kept.values(), key=lambda record: record.offset), self._at_once)
        topic.end = self.end
        return topic


def _followed(topic: Topic, home: Path) -> dict[bytes, Session | None]:
    """What a worker with an empty disk knows about the visitors when it has read the topic to its end."""
    with (home / "lock").open("w") as lock:
        follower = Follower(
            folder=Folder(home, lock),
            reader=cast(Any, topic),
            sender=topic,
            decode=SESSION_CODEC.decode,
            encode=SESSION_CODEC.encode,
            clock=lambda: NOW,
            heartbeat=Heartbeat(),
        )
        follower.own(frozenset({0}))
        follower.follow(topic.stop)
        return dict(zip(VISITORS, follower.store(0).sessions(VISITORS), strict=True))


VISITORS = [visitor_key(number) for number in ("1", "2")]
visits = st.lists(
    st.builds(
        session,
        session_id=st.sampled_from(["a", "b", "c"]),
        ym_uid=st.sampled_from(["1", "2"]),
        session_at=st.integers(0, 5),
        last_visit_at=st.integers(0, 2),
    ),
    max_size=12,
)


@settings(max_examples=15)  # each example opens three databases
@given(visits, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_last_session_of_a_visitor_is_its_latest_in_any_order_and_after_compaction(
    tmp_path_factory: pytest.TempPathFactory, arriving: list[Session], at_once: int, order: random.Random
) -> None:
    def as_written(sessions: Sequence[Session], *, live: bool) -> Topic:
        written = [
            Outgoing(topic=SESSIONS.name, key=visitor_key(of.ym_uid or ""), value=SESSION_CODEC.encode(of))
            for of in sessions
        ]
        return Topic(
            [as_read(record, offset, partition=0) for offset, record in enumerate(written)], at_once, live=live
        )

    topic = as_written(arriving, live=True)
    known = _followed(topic, tmp_path_factory.mktemp("first"))
    for visitor, found in known.items():
        times = [of.session_at for of in arriving if visitor_key(of.ym_uid or "") == visitor]
        assert (None if found is None else found.session_at) == max(times, default=None)
    assert _followed(topic.compacted(), tmp_path_factory.mktemp("rebuilt")) == known
    assert (
        _followed(as_written(order.sample(arriving, len(arriving)), live=False), tmp_path_factory.mktemp("shuffled"))
        == known
    )
