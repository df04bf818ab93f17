"""How far each topic of each partition has been read, against where it ended when the partition was assigned."""

from __future__ import annotations

import time
from dataclasses import dataclass

from runtime.attention import Place


@dataclass(slots=True)
class _Reading:
    position: int
    target: int


class Progress:
    """Positions of one assignment."""

    def __init__(self) -> None:
        self._readings: dict[Place, _Reading] = {}

    def begin(self, place: Place, position: int, target: int) -> None:
        """Say from where ``place`` is read and where it ends now."""
        self._readings[place] = _Reading(position, target)

    def read(self, place: Place, position: int) -> None:
        """Say that everything before ``position`` is in the state."""
        self._readings[place].position = position

    def ended(self, place: Place) -> None:
        """Say that Kafka has nothing more to give.

        Compaction or a transaction can leave a partition whose last offsets hold no record: the position alone would
        never get to where it ended.
        """
        reading = self._readings[place]
        reading.target = min(reading.target, reading.position)

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
        late = {number for (_, number), reading in self._readings.items() if reading.position < reading.target}
        return frozenset(number for _, number in self._readings) - late


class Pace:
    """How many records were taken in since it was made, and how fast: for the log."""

    def __init__(self) -> None:
        self.taken = 0
        self._began_at = time.monotonic()

    def figures(self) -> dict[str, float]:
        """Records, seconds, and records per second."""
        seconds = max(time.monotonic() - self._began_at, 0.001)
        return {"records": self.taken, "seconds": round(seconds, 1), "records_per_second": round(self.taken / seconds)}
