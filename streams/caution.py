"""Between deciding and writing: where nearly everything would become a dead letter, the join waits instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runtime import metrics
from runtime.breaker import Breaker, TooManyRejects
from runtime.logs import logger
from schemas.records import Outgoing
from schemas.topics import WAITING
from streams.letters import LETTER_TOPICS, STAGE, class_of
from streams.patience import Patience
from streams.writer import Decision

_OPEN: Final = metrics.BREAKER_OPEN.labels(STAGE)


class Caution:
    """Takes decisions again and again until what they refuse is no wall any more. For the writer's thread."""

    def __init__(self, breaker: Breaker, patience: Patience) -> None:
        self._breaker = breaker
        self._patience = patience

    def __call__(self, decide: Decision) -> Sequence[Outgoing]:
        """Return what ``decide`` returns; it is asked again, later, while it refuses too much.

        Raises:
            streams.patience.StoppedWaiting: the process was asked to stop meanwhile.
        """
        return self._patience.until_answered(
            "dead letters", lambda: self._checked(decide()), pause_seconds=TooManyRejects.pause_seconds
        )

    def _checked(self, records: Sequence[Outgoing]) -> Sequence[Outgoing]:
        refused = [class_of(record) for record in records if record.topic in LETTER_TOPICS]
        # A release only says that another of these records follows from a waiting one.
        decided = sum(record.topic != WAITING.name or record.value is not None for record in records)
        try:
            self._breaker.check(decided, refused)
        except TooManyRejects as problem:
            _OPEN.set(1)
            logger().error("rejects.too_many", problem=str(problem))
            raise
        _OPEN.set(0)
        self._breaker.passed(decided, refused)
        return records
