"""When a goal's conversions are held back because Metrika refuses them one by one. Pure: counts and times come in.

Every conversion that fails was refused alone; nothing is concluded about the others. But where one after the other is
refused, the cause is common, and finding each bad row costs two requests of the day. So the rest waits as it is, and
one conversion at a time shows whether the cause is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sinks.metrika.planning import day_ends

# In a row, for the same cause, with none of the goal accepted between.
_IN_A_ROW: Final = 5
# Between good rows: finding so many bad ones has cost several hundred requests.
_IN_A_DAY: Final = 50
_SHORTEST: Final = timedelta(minutes=15)
_LONGEST: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The goal's conversions wait; one is tried at ``retry_at``."""

    retry_at: datetime
    reason: str


def hold(*, in_a_row: int, that_day: int, retries: int, message: str, now: datetime) -> Hold | None:
    """Decide after a refusal whether the goal is held, given how often it was refused and already held before."""
    what_to_do = "Correct the goal or its conversions, then `goalpost admin counter resume`."
    if in_a_row >= _IN_A_ROW:
        pause = min(_SHORTEST * 2 ** min(retries, 10), _LONGEST)
        reason = f"Metrika refused {in_a_row} conversions of this goal one after the other: {message}. {what_to_do}"
        return Hold(retry_at=now + pause, reason=reason)
    if that_day >= _IN_A_DAY:
        reason = (
            f"Metrika refused {that_day} conversions of this goal today, the last one with: {message}. {what_to_do}"
        )
        return Hold(retry_at=day_ends(now), reason=reason)
    return None
