"""What Metrika linked, by source, goal and kind of identifier: the figures from which a match rate is computed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from runtime.metrics import METRIKA_LINES
from sinks.metrika.answers import Uploading
from sinks.metrika.conversions import IdType

# Goals come from webhooks; a CRM that makes up a new one for each deal must not make as many time series.
_MOST_GOALS: Final = 200
_OTHER: Final = "other"


class Share(NamedTuple):
    """Lines of one source and goal with one result; a fraction where a mixed file leaves open whose they are."""

    source: str
    goal: str
    result: str
    lines: float


def lines_by_group(rows: Mapping[tuple[str, str], int], counts: Uploading) -> Iterator[Share]:
    """Divide an upload's counts among its groups (source, goal), each by its share of the rows.

    Exact for a file of one group, and where all or none were linked; else every group gets the file's average.
    """
    total = sum(rows.values())
    source, line = counts.source_quantity, counts.line_quantity
    results = {
        "sent": total,
        "linked": counts.linked_quantity,
        "goal_not_found": counts.goal_not_found_quantity,
        "user_not_found": counts.user_not_found_quantity,
        "refused": None if source is None or line is None else source - line,
    }
    for (name, goal), size in rows.items():
        for result, lines in results.items():
            if lines and lines > 0:
                yield Share(name, goal, result, lines * size / total)


class Matching:
    """Counts into ``metrika_lines_total``. Any thread may call."""

    def __init__(self) -> None:
        self._goals: set[str] = set()
        self._lock = threading.Lock()

    def count(self, rows: Mapping[tuple[str, str], int], id_type: IdType, counts: Uploading) -> None:
        """Count one finished upload; ``rows`` are its conversions by source and goal."""
        for share in lines_by_group(rows, counts):
            labels = (share.source or "unknown", self._known(share.goal), id_type.value, share.result)
            METRIKA_LINES.labels(*labels).inc(share.lines)

    def _known(self, goal: str) -> str:
        with self._lock:
            if len(self._goals) < _MOST_GOALS:
                self._goals.add(goal)
            return goal if goal in self._goals else _OTHER
