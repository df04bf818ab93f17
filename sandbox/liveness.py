"""Whether a service says that it has stalled, asked now and then on a thread of its own, as an orchestrator does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import requests

LOOK_SECONDS: Final = 5.0
# So many answers of that kind in a row; one may have met a moment in which the whole machine stood still.
LOOKS: Final = 3
_ANSWER_SECONDS: Final = 5.0


class Liveness:
    """Asks one service. It is asked only as often as :meth:`stalled` is called, and never more than one at a time."""

    def __init__(
        self,
        url: str | None,
        *,
        ask: Callable[[str], str | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``ask`` returns why the service at an address has stalled, if it has; ``clock`` is monotonic, in seconds."""
        self._url = url
        self._ask = ask or stalled_at
        self._clock = clock
        self._asked_at = clock()
        self._asking: threading.Thread | None = None
        self._reasons: list[str] = []

    def stalled(self) -> str | None:
        """Why the service counts as stalled, or ``None``. Returns at once."""
        if self._url is None:
            return None
        due = self._clock() - self._asked_at >= LOOK_SECONDS
        if due and (self._asking is None or not self._asking.is_alive()):
            self._asked_at = self._clock()
            self._asking = threading.Thread(target=self._look, args=(self._url, self._reasons), daemon=True)
            self._asking.start()
        return self._reasons[-1] if len(self._reasons) >= LOOKS else None

    def forget(self) -> None:
        """Begin anew: the service is another process now."""
        self._reasons = []
        self._asked_at = self._clock()

    def _look(self, url: str, reasons: list[str]) -> None:
        reason = self._ask(url)
        if reason is None:
            reasons.clear()
        else:
            reasons.append(reason)


def stalled_at(url: str) -> str | None:
    """Return why the service at ``url`` says that it has stalled.

    One that does not answer says nothing: it is starting, ending, or held on purpose.
    """
    try:
        answer = requests.get(url, timeout=_ANSWER_SECONDS)
        if answer.status_code != requests.codes.unavailable:
            return None
        said = answer.json()
    except (requests.RequestException, ValueError):
        return None
    return str(said.get("standstill") or f"its loop has not come round for {said.get('last_beat_seconds')} s")
