"""How far each topic of each partition has been read, against where it ended when the partition was assigned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Place = tuple[str, int]

# Compaction can leave a partition whose last offsets hold no record: nothing more comes, yet the end is not reached.
# Waiting for ever would stop the join; going on too early only sends events through the waiting room.
_QUIET_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Reading:
    position: int
    target: int
    moved_at: float


class Progress:
    """Positions of one assignment. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._readings: dict[Place, _Reading] = {}

    def begin(self, place: Place, position: int, target: int) -> None:
        """Say from where ``place`` is read and where it ends now."""
        self._readings[place] = _Reading(position, target, self._clock())

    def read(self, place: Place, position: int) -> None:
        """Say that everything before ``position`` is in the state."""
        reading = self._readings.get(place)
        if reading is not None:
            reading.position = position
            reading.moved_at = self._clock()

    def position(self, place: Place) -> int | None:
        """The next offset to read; ``None`` if the place is not read."""
        reading = self._readings.get(place)
        return None if reading is None else reading.position

    def behind(self, partition: int) -> int:
        """Offsets between the state of ``partition`` and the ends seen at its assignment."""
        return sum(
            max(0, reading.target - reading.position)
            for (_, number), reading in self._readings.items()
            if number == partition
        )

    def caught_up(self) -> frozenset[int]:
        """The partitions whose topics have all been read to those ends."""
        late = {number for (_, number), reading in self._readings.items() if reading.position < reading.target}
        return frozenset(number for _, number in self._readings) - late

    def silent(self) -> list[Place]:
        """The places that are not at their end and from which nothing has come for a while."""
        oldest = self._clock() - _QUIET_SECONDS
        return [
            place
            for place, reading in self._readings.items()
            if reading.position < reading.target and reading.moved_at < oldest
        ]

    def settle(self, place: Place) -> None:
        """Accept that no record stands between the position and the end."""
        self._readings[place].target = self._readings[place].position
