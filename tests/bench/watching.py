"""When a conversion becomes visible in Postgres to somebody else."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, LiteralString, Self

import psycopg

from tests.bench.results import require

_PATIENCE_SECONDS: Final = 90.0
# Should a notification ever be missing, the row is seen this much later.
_LOOK_AT_LEAST_EVERY_SECONDS: Final = 0.1
_RECENT: Final[LiteralString] = (
    "SELECT id::text FROM webhook_conversions WHERE created_at > now() - interval '5 seconds'"
)


class Watcher:
    """Selects whenever the sink notifies, on a connection and a thread of its own, and notes what is there.

    ``visible_at`` says when each event's row was first seen, by ``time.monotonic``: after the select, so always late.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._done = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.visible_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        require(self._listening.wait(_PATIENCE_SECONDS), "Postgres does not let the benchmark listen")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def wait_for(self, event_ids: list[str]) -> None:
        """Return when all are visible.

        Raises:
            Unverified: some are not, long after their answers.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while missing := sum(event_id not in self.visible_at for event_id in event_ids):
            require(time.monotonic() < deadline, f"{missing} of {len(event_ids)} answered events are not in Postgres")
            time.sleep(0.05)

    def _watch(self) -> None:
        with psycopg.connect(self._database_url, autocommit=True) as database:
            database.execute("LISTEN goalpost_stored")
            self._listening.set()
            while not self._done.is_set():
                for _ in database.notifies(timeout=_LOOK_AT_LEAST_EVERY_SECONDS, stop_after=1):
                    pass
                rows = database.execute(_RECENT).fetchall()
                now = time.monotonic()
                for (event_id,) in rows:
                    self.visible_at.setdefault(event_id, now)
