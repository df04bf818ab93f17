"""Whether one reader of Kafka gets what there is to read: what it has got, against what Kafka itself says. Pure.

A client that has lost its way looks like one without work: it polls, and nothing comes. So another client asks Kafka
where the topics end and who is in the group (``runtime.lookout``), and the two are compared here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

Place = tuple[str, int]

# Where there is more to read and nothing comes, or Kafka does not count it to its group: so long, while Kafka answers
# others, and the client is made anew. Long enough for a group that is being put together, and for a broker that has
# just started to take up its partitions.
RENEW_AFTER_SECONDS: Final = 10.0
# One that is given up may hang in its last words for good, so there must not be one every ten seconds of a bad day.
_DOUBLINGS: Final = 5
# After this readiness says so.
_NOTICED_SECONDS: Final = 6.0
# What Kafka said longer ago than this says nothing about now: it does not answer, and nobody is to blame.
_STALE_SECONDS: Final = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Which topic of a name it is, and from where to where each partition goes."""

    topic_id: str
    begins: Mapping[int, int]
    ends: Mapping[int, int]

    def continues(self, earlier: Log) -> bool:
        """Whether it is the same topic, and has lost nothing since ``earlier`` but what compaction takes."""
        return (
            self.topic_id == earlier.topic_id
            and all(self.ends.get(partition, 0) >= end for partition, end in earlier.ends.items())
            and all(self.begins.get(partition, 0) <= begin for partition, begin in earlier.begins.items())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What Kafka says of topics and a group, at ``at`` (monotonic, in seconds).

    ``ends`` is behind the last record that may be read. ``members`` are the places that each member of the group has;
    ``None`` while they are being given out, or where there is no group. ``compacted`` is the log of a compacted topic.
    """

    at: float
    ends: Mapping[Place, int]
    members: Mapping[str, frozenset[Place]] | None = None
    compacted: Log | None = None


class Attention:
    """Watches one reader. Its owner tells what is read; any thread may ask how it is. Times are in seconds.

    Each place is watched by itself: a client may read all of them but one. One that gets nothing while others do may
    only have to wait for its turn, so that counts from when the client had nothing more to give.
    """

    def __init__(
        self,
        sighting: Callable[[], Sighting | None] = lambda: None,
        *,
        group: str | None = None,
        renew_after_seconds: float = RENEW_AFTER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``group`` is the consumer group to which the reader has to belong; without one it takes places itself."""
        self._sighting = sighting
        self._group = group
        self._renew_after_seconds = renew_after_seconds
        self._clock = clock
        self._positions: dict[Place, int | None] = {}
        self._resting: frozenset[Place] = frozenset()
        self._member: str | None = None
        self._placed = group is None
        # Since when each place, and the membership, lack something; since when the reader has its present client.
        self._lacking: dict[Place | None, float] = {}
        self._begun_at = self._emptied_at = clock()
        self._answering = False
        # How many clients in a row have got nothing.
        self._in_vain = -1

    @property
    def in_group(self) -> bool:
        """Whether the reader has to belong to a group."""
        return self._group is not None

    def begin(self) -> None:
        """Say that the reader has a new client, which has read nothing yet."""
        self._positions = {}
        self._member = None
        self._begun_at = self._clock()
        self._in_vain += 1

    def joined(self, member: str | None) -> None:
        """Say under which name Kafka knows the reader in its group now."""
        self._member = member

    def owns(self, places: Iterable[Place]) -> None:
        """Say which places the reader has, all of them; new ones are read from a position that is not known yet."""
        self._positions = {place: self._positions.get(place) for place in places}
        self._placed = True

    def places(self) -> list[Place]:
        """What the reader has."""
        return list(self._positions)

    def took(self, place: Place, position: int) -> None:
        """Say that the reader has got everything before ``position``, or that Kafka has no more there."""
        if place in self._positions:
            self._positions[place] = position
        self._lacking.pop(place, None)
        self._in_vain = 0

    def stands(self, place: Place, position: int) -> None:
        """Say where the reader stands; only a change of it is a sign of life."""
        if self._positions.get(place) != position:
            self.took(place, position)

    def emptied(self) -> None:
        """Say that the client had nothing more to give, of whatever place."""
        self._emptied_at = self._clock()

    def rest(self, places: Iterable[Place]) -> None:
        """Say which places are not to be read now, all of them."""
        self._resting = frozenset(places)

    def excuse(self) -> None:
        """Say that the reader does not read now, for a reason that its owner knows."""
        self._lacking.clear()

    def behind(self) -> int:
        """How many offsets there are that the reader has not got; one at least where it has got nothing at all."""
        return sum(self._behind().values())

    def idle_seconds(self) -> float:
        """For how long the reader has lacked something that it should have; 0 while Kafka does not answer."""
        now, seen = self._clock(), self._sighting()
        if seen is None or now - seen.at > _STALE_SECONDS:
            self._answering = False
            self._lacking.clear()
            return 0.0
        if not self._answering:  # after an outage everybody begins anew
            self._answering = True
            self._begun_at = now
        lacking: dict[Place | None, float] = {place: self._lacking.get(place, now) for place in self._behind()}
        if self._misplaced(seen) is not None:
            lacking[None] = self._lacking.get(None, now)
        self._lacking = lacking
        # Of a place, only as long as the client has had nothing to give since: others may come before it.
        return max((self._emptied_or(now, place) - since for place, since in lacking.items()), default=0.0)

    def silent(self) -> bool:
        """Whether the reader needs another client. Each one that gets nothing either has twice the time."""
        allowed = self._renew_after_seconds * 2.0 ** min(max(self._in_vain, 0), _DOUBLINGS)
        return min(self.idle_seconds(), self._clock() - self._begun_at) > allowed

    def standstill(self, after_seconds: float) -> str | None:
        """What stands still for longer than that, although there is work and Kafka answers, in words."""
        return self.obstacle() if self.idle_seconds() > after_seconds else None

    def obstacle(self) -> str | None:
        """What is wrong with the reader, for people."""
        idle, seen = self.idle_seconds(), self._sighting()
        if not self._placed:
            return f"it has been given no partition in group {self._group} yet"
        if idle <= _NOTICED_SECONDS or seen is None:
            return None
        return f"for {idle:.0f} s {self._misplaced(seen) or f'nothing has come, and {self.behind()} records wait'}"

    def _emptied_or(self, now: float, place: Place | None) -> float:
        return now if place is None else max(self._emptied_at, self._lacking[place])

    def _misplaced(self, seen: Sighting) -> str | None:
        """What is wrong with the reader's place in its group, by what Kafka says."""
        if self._group is None or seen.members is None:
            return None
        given = None if self._member is None else seen.members.get(self._member)
        if given is None:
            return f"Kafka does not count it to group {self._group}"
        if given != set(self._positions):
            return f"it has not taken up the partitions that group {self._group} has given it"
        self._placed = True  # without a partition: a spare
        return None

    def _behind(self) -> dict[Place, int]:
        """The places of which there is more than the reader has got, and how much."""
        seen = self._sighting()
        if seen is None:
            return {}
        found = {}
        for place, position in list(self._positions.items()):
            end = seen.ends.get(place, 0)
            missing = min(end, 1) if position is None else end - position
            if missing > 0 and place not in self._resting:
                found[place] = missing
        return found
