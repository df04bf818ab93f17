"""Between deciding and writing: where nearly everything would become a dead letter, the join waits instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from runtime import metrics
from runtime.breaker import WALL_OF_ONE, Breaker, TooManyRejects, reject
from runtime.logs import logger
from schemas.records import Outgoing
from schemas.topics import WAITING
from streams.letters import LETTER_TOPICS, STAGE, class_of
from streams.patience import Patience
from streams.writer import Decision

# Of the state's own topics: its thread may stand still while events are still decided, and the other way round.
STATE: Final = f"{STAGE}.state"


class Refusing(Protocol):
    """What was made of a batch of records."""

    @property
    def letters(self) -> Sequence[Outgoing]:
        """Those of them that are refused."""


R = TypeVar("R", bound=Refusing)
T = TypeVar("T")


class Caution:
    """Takes decisions again and again until what they refuse is no wall any more. For one thread.

    ``stage`` is what metrics and readiness call it.
    """

    def __init__(self, breaker: Breaker, patience: Patience, *, stage: str = STAGE) -> None:
        self._breaker = breaker
        self._patience = patience
        self._what = "dead letters" if stage == STAGE else f"dead letters of {stage}"
        self._open = metrics.BREAKER_OPEN.labels(stage)

    def __call__(self, decide: Decision) -> Sequence[Outgoing]:
        """Return what ``decide`` returns; it is asked again, later, while it refuses too much.

        Raises:
            streams.patience.StoppedWaiting: the process was asked to stop meanwhile.
        """

        def decided() -> Sequence[Outgoing]:
            records = decide()
            # A release only says that another of these records follows from a waiting one.
            count = sum(record.topic != WAITING.name or record.value is not None for record in records)
            self._check(count, [record for record in records if record.topic in LETTER_TOPICS])
            return records

        return self._insist(decided)

    def taken_in(self, records: int, take: Callable[[], R]) -> R:
        """Return what ``take`` makes of so many records, likewise.

        Raises:
            streams.patience.StoppedWaiting: the process was asked to stop meanwhile.
        """

        def taken() -> R:
            found = take()
            self._check(records, found.letters)
            return found

        return self._insist(taken)

    def _insist(self, decide: Callable[[], T]) -> T:
        return self._patience.until_answered(self._what, decide, pause_seconds=TooManyRejects.pause_seconds)

    def _check(self, records: int, letters: Sequence[Outgoing]) -> None:
        refused = [reject(letter.headers, class_of(letter)) for letter in letters]
        try:
            self._breaker.check(records, refused)
        except TooManyRejects as problem:
            self._open.set(1)
            logger().error("rejects.too_many", problem=str(problem))
            raise
        self._open.set(0)
        wall_of = self._breaker.passed(records, refused)
        if wall_of is not None:
            logger().error("rejects.of_one_sender", sender=wall_of, action=WALL_OF_ONE)
