"""Counts answers: for Prometheus at once, for the log as one line per interval instead of one per request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from producers.exchange import Endpoint, refusal, send_answer
from runtime.logs import logger
from runtime.metrics import REQUESTS, SECONDS

_LOG_EVERY_SECONDS: Final = 10.0
_FAILED: Final = refusal(500, "the service failed on this request; send it again, and report it if it fails again")

_seconds = SECONDS.labels("webhook")


@dataclass(slots=True)
class _Tally:
    counter: Counter
    since_line: int = 0


class Meter:
    """Answers by route and status."""

    def __init__(self) -> None:
        # Prometheus's own look-up by labels costs more than parsing a request.
        self._tallies: dict[tuple[str, int], _Tally] = {}

    def counted(self, route: str, endpoint: Endpoint) -> ASGIApp:
        """Return the ASGI application that answers with ``endpoint`` and counts it as ``route``, a template."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            started = perf_counter()
            try:
                answer = await endpoint(scope, receive)
            except Exception:  # noqa: BLE001 - the service's only boundary: one request's bug is not the next one's
                logger().exception("request.failed", route=route)
                answer = _FAILED
            if answer is not None:
                await send_answer(send, answer)
                self._count(route, answer.status, perf_counter() - started)

        return application

    def _count(self, route: str, status: int, seconds: float) -> None:
        tally = self._tallies.get((route, status))
        if tally is None:
            tally = self._tallies[route, status] = _Tally(REQUESTS.labels(route, str(status)))
        tally.counter.inc()
        tally.since_line += 1
        _seconds.observe(seconds)

    async def keep_reporting(self) -> None:
        """Log what was answered, every ten seconds in which anything was."""
        while True:
            await asyncio.sleep(_LOG_EVERY_SECONDS)
            self.report()

    def report(self) -> None:
        """Log what was answered since the last line."""
        answers = {f"{route} {status}": one.since_line for (route, status), one in self._tallies.items()}
        if any(answers.values()):
            logger().info("requests.answered", answers={name: count for name, count in answers.items() if count})
        for tally in self._tallies.values():
            tally.since_line = 0
