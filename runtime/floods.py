"""One line a minute of what libraries and waiting loops would say many times a second. Pure but for the clock."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Hashable
from typing import Final

_MINUTE: Final = 60.0
# More kinds than this are no kinds; they are forgotten all at once.
_KINDS: Final = 500
_NUMBERS: Final = re.compile(r"\d+")
_TEMPLATE_CHARACTERS: Final = 60

# What Kafka's two libraries say while brokers are gone, in as many words as they have requests. The rest of what they
# say, for example of permissions, is a kind of its own per text.
_OUTAGE: Final = re.compile(
    r"FAIL |REQTMOUT |SESSTMOUT |ERROR .*brokers are down|Unable (connect|to request|to update)|Failed fetch"
    r"|Group Coordinator|Heartbeat |OffsetCommit failed|LeaveGroup request|Auto offset commit failed|Got error produce"
    r"|Committing raised exception"
)


class Flood:
    """Lets one line of a kind through, then none for a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in seconds."""
        self._clock = clock
        self._kinds: dict[Hashable, tuple[float, int]] = {}

    def admitted(self, kind: Hashable) -> int | None:
        """Return how many lines were left out since the last one of ``kind``; ``None`` if this one is left out, too."""
        now = self._clock()
        said_at, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now - said_at < _MINUTE:
            self._kinds[kind] = said_at, left_out + 1
            return None
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = now, 0
        return left_out


class LibraryFlood(logging.Filter):
    """Keeps libraries from repeating themselves; what it lets through says how often it was said before."""

    def __init__(self, flood: Flood) -> None:
        super().__init__()
        self._flood = flood

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written."""
        left_out = self._flood.admitted(_kind(record))
        if left_out:
            record.msg, record.args = f"{record.getMessage()} [said {left_out} times more in the minute before]", ()
        return left_out is not None


def _kind(record: logging.LogRecord) -> Hashable:
    library = record.name.partition(".")[0]
    text = str(record.msg)
    if _OUTAGE.match(text):
        return library, "outage"
    failure = record.exc_info[0] if record.exc_info else None
    return record.name, record.levelno, failure, _NUMBERS.sub("#", text)[:_TEMPLATE_CHARACTERS]
