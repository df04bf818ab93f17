"""Starts parts again on a thread of its own: that takes seconds, in which everything else has to be looked after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Final

from sandbox.part import RunningPart

_PAUSE_SECONDS: Final = 0.1


class Reviving:
    """One revival at a time."""

    def __init__(self) -> None:
        self._outcome: Future[None] | None = None
        self._parts: Sequence[RunningPart] = ()

    def under_way(self) -> bool:
        """Whether parts are being started. Raises PartFailed, once, when one of them would not."""
        if self._outcome is None:
            return False
        if not self._outcome.done():
            return True
        outcome, self._outcome = self._outcome, None
        outcome.result()
        return False

    def begin(self, parts: Sequence[RunningPart], start: Callable[[], None]) -> None:
        """Call ``start``, which starts ``parts``, on a thread that nobody waits for at the end of the process."""
        outcome: Future[None] = Future()

        def work() -> None:
            try:
                start()
            except BaseException as error:  # noqa: BLE001 - whoever asks next gets it
                outcome.set_exception(error)
            else:
                outcome.set_result(None)

        self._outcome, self._parts = outcome, parts
        Thread(target=work, name="reviving", daemon=True).start()

    def give_up(self) -> None:
        """End what is being started, and return when nobody starts anything any more."""
        while self._outcome is not None and not self._outcome.done():
            for running in self._parts:
                running.abandon()
            wait([self._outcome], _PAUSE_SECONDS)
        self._outcome = None
