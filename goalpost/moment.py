"""Times on the command line: ``2d``, ``36h``, ``30m`` ago, or an ISO date or time (UTC where no zone is given)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment_ms(text: str, *, now_ms: int) -> int:
    """Return the moment that ``text`` names in epoch milliseconds.

    Raises:
        ValueError: it is neither an age nor an ISO date or time.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return now_ms - int(timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds() * 1000)
    parsed = datetime.fromisoformat(text.strip())
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def iso(epoch_ms: int) -> str:
    """Return epoch milliseconds as ISO 8601 in UTC, to the millisecond.

    A number from outside that is no moment of any year stays what it is, so that it can be shown.
    """
    try:
        moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{epoch_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Moment(click.ParamType):
    """A time as a command's option, in epoch milliseconds."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the option."""
        if isinstance(value, int):
            return value
        try:
            return moment_ms(str(value), now_ms=time.time_ns() // 1_000_000)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2d, 36h or 2026-03-01T12:00", param, ctx)
