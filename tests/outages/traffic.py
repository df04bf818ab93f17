"""Conversions at a steady rate, each sent as a CRM does that repeats until it is told that it was taken."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

from tests.e2e.outside import Outside

_SENDERS: Final = 40
_AGAIN_SECONDS: Final = 0.5
SESSIONS: Final = 20


class Traffic:
    """Sends from the start of the block to its end. ``taken`` are the ids that were answered with 202, by number."""

    def __init__(self, outside: Outside, run: str, *, rate_per_s: float) -> None:
        self._outside = outside
        self._run = run
        self._rate = rate_per_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="traffic")
        self.sessions = [f"{run}-{place}" for place in range(SESSIONS)]
        self.sent = 0
        self.taken: dict[int, str] = {}
        self.other: list[str] = []

    def start(self) -> None:
        """Report the sessions, then send conversions until :meth:`finish`."""
        self._outside.visit(
            *({"session_id": one, "ym_uid": f"17000000001{place:08d}"} for place, one in enumerate(self.sessions))
        )
        self._thread.start()

    def finish(self) -> None:
        """Send nothing new, and return when everything sent was taken."""
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(_SENDERS) as senders:
            while not self._stop.wait(max(0.0, began + self.sent / self._rate - time.monotonic())):
                senders.submit(self._deliver, self.sent)
                self.sent += 1

    def _deliver(self, number: int) -> None:
        body = {
            "session_id": self.sessions[number % SESSIONS],
            "goal_name": f"{self._run}_{number}",
            "goal_value": 1,
            "event_id": f"{self._run}-{number}",
        }
        while True:
            try:
                answer = self._outside.convert(body)
            except requests.RequestException:
                time.sleep(_AGAIN_SECONDS)
                continue
            if answer.status_code == requests.codes.accepted:
                self.taken[number] = str(answer.json()["event_ids"][0])
                return
            if answer.status_code != requests.codes.unavailable:
                self.other.append(f"{answer.status_code} {answer.text[:200]}")
                return
            time.sleep(_AGAIN_SECONDS)
