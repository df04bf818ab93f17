"""How far each topic of each partition has been read, against where it ended when the partition was assigned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Place = tuple[str, int]

# Compaction or a foreign transaction can leave a partition whose last offsets hold no record: nothing comes, yet the
# end is not reached. Waiting for ever would stop the join. Silence of one partition proves nothing, because a client
# delivers partition by partition; silence of all does. Going on too early only sends events through the waiting room.
_QUIET_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Reading:
    position: int
    target: int


class Progress:
    """Positions of one assignment. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._readings: dict[Place, _Reading] = {}
        self._moved_at = clock()

    def begin(self, place: Place, position: int, target: int) -> None:
        """Say from where ``place`` is read and where it ends now."""
        self._readings[place] = _Reading(position, target)

    def read(self, place: Place, position: int) -> None:
        """Say that everything before ``position`` is in the state."""
        self._moved_at = self._clock()
        self._readings[place].position = position

    def position(self, place: Place) -> int | None:
        """The next offset to read; ``None`` if the place is not read."""
        reading = self._readings.get(place)
        return None if reading is None else reading.position

    def behind(self, partition: int) -> int:
        """Offsets between the state of ``partition`` and the ends seen at its assignment."""
        of_partition = (reading for (_, number), reading in self._readings.items() if number == partition)
        return sum(max(0, reading.target - reading.position) for reading in of_partition)

    def caught_up(self) -> frozenset[int]:
        """The partitions whose topics have all been read to those ends."""
        return frozenset(number for _, number in self._readings) - {number for _, number in self._late()}

    def silent(self) -> list[Place]:
        """The places that are not at their end, if nothing at all has come for a while."""
        return self._late() if self._clock() - self._moved_at > _QUIET_SECONDS else []

    def settle(self, place: Place) -> None:
        """Accept that no record stands between the position and the end."""
        self._readings[place].target = self._readings[place].position

    def _late(self) -> list[Place]:
        return [place for place, reading in self._readings.items() if reading.position < reading.target]
