"""When something happened, as people and programs write it; a time without an offset is local time of the sender.

Of a day alone its end counts: at its beginning the conversion would precede the visit that led to it, and Metrika would
link it to none. A clock that is ahead is not believed: an upload must not wait until its own time has come.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from producers.fields import BadField, Values
from producers.written_times import parsed
from schemas.events import EpochMillis, Webhook

DEFAULT_ZONE: Final = "Europe/Moscow"

# The longest is JavaScript's own: a weekday, an offset, and the zone's name in brackets, in words.
_LENGTH_LIMIT: Final = 128
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LAST_OF_DAY: Final = timedelta(hours=23, minutes=59, seconds=59)
# 10^11 seconds are the year 5138, 10^11 milliseconds are 1973, and so on to nanoseconds: no real event is near any.
_UNITS: Final = ((10**11, 1000.0), (10**14, 1.0), (10**17, 1e-3), (10**20, 1e-6))
_EPOCH_TEXT: Final = re.compile(r"[0-9]{9,20}(?:\.[0-9]{1,9})?")
# Banks write a date and a time of day without anything between; as an epoch it would be before 1977 or after 2600.
_COMPACT: Final = re.compile(r"20[0-9]{10}(?:[0-9]{2})?")
_EARLIEST: Final[EpochMillis] = 946_684_800_000
_YEAR_MS: Final = 366 * 24 * 60 * 60 * 1000
# Clocks of servers differ by seconds, those of offices by minutes.
_AHEAD_MS: Final = 5 * 60 * 1000

_REMEDY: Final = "send ISO 8601 such as 2026-03-01T12:30:00+03:00, or epoch seconds"


class FromFuture(BadField):
    """The time is well readable and has not come yet."""


class _Read(NamedTuple):
    """A time. Where no time of day was written it is the day's beginning, and ``ends`` is its end."""

    at: EpochMillis
    ends: EpochMillis | None = None


def moment(values: Values, name: str, *, now: EpochMillis, zone: tzinfo) -> EpochMillis | None:
    """Return when a conversion happened, as epoch milliseconds; of a day alone its end, or ``now`` if that is earlier.

    Understood are ISO 8601 and its like, ``DD.MM.YYYY``, ``MM/DD/YYYY`` with AM and PM, RFC 2822, JavaScript's and
    names of zones, each with or without a time of day; and epoch seconds to nanoseconds, as number or text. ``zone`` is
    where it is local time if it has no offset: where clocks are put back the first of two hours is meant, where they
    are put forward the offset of before counts.

    Raises:
        FromFuture: more than five minutes after ``now``.
        BadField: no time, or before the year 2000.
    """
    found = _read(values, name, zone)
    if found is None:
        return None
    if found.at < _EARLIEST:
        raise BadField(name, "is before the year 2000; send the time of the event")
    if found.at > now + _AHEAD_MS:
        raise FromFuture(name, f"lies in the future ({_iso(found.at)}); send the time of the event with its offset")
    return found.at if found.ends is None else min(found.ends, max(now, found.at))


def session_time(values: Values, name: str, *, now: EpochMillis) -> EpochMillis | None:
    """Return a time of a web session as epoch milliseconds; without an offset it is UTC, as sites and Postgres write.

    Raises:
        BadField: no time, before the year 2000, or more than a year after ``now``.
    """
    found = _read(values, name, UTC)
    if found is not None and not _EARLIEST <= found.at <= now + _YEAR_MS:
        raise BadField(name, "is before the year 2000 or more than a year ahead; send the time of the event")
    return None if found is None else found.at


@lru_cache(maxsize=1024)
def zone_named(name: str | None, otherwise: str = DEFAULT_ZONE) -> ZoneInfo:
    """Return the zone of a name from IANA's database; ``otherwise`` where there is none or it is not known here."""
    for one in (name, otherwise):
        try:
            if one:
                return ZoneInfo(one)
        except (ValueError, OSError, KeyError):  # no such zone; or a name that no file can have
            continue
    return ZoneInfo(DEFAULT_ZONE)


def zone_of(webhook: Webhook, otherwise: str) -> ZoneInfo:
    """Return where times without an offset are local that come for this webhook."""
    return zone_named(webhook.timezone, otherwise)


def _read(values: Values, name: str, zone: tzinfo) -> _Read | None:
    value = values.get(name)
    if value is None or (type(value) is str and not value.strip()):
        return None
    try:
        found = _found(name, value, zone)
    except BadField:
        raise
    except (ValueError, KeyError, OverflowError):
        found = None
    if found is None:
        raise BadField(name, f"is no time; {_REMEDY}")
    return found


def _found(name: str, value: object, zone: tzinfo) -> _Read | None:
    if type(value) is int or type(value) is float:
        return _from_epoch(value)
    if type(value) is not str:
        return None
    written = value.strip()
    if len(written) > _LENGTH_LIMIT:
        raise BadField(name, f"is longer than {_LENGTH_LIMIT} characters, which no time is; {_REMEDY}")
    if written[4:5] != "-":  # else it is a date, as most are
        if _COMPACT.fullmatch(written):
            written = f"{written[:8]}T{written[8:]}"
        elif _EPOCH_TEXT.fullmatch(written):
            return _from_epoch(float(written) if "." in written else int(written))
    at, day_only = parsed(written, name=name)
    local = at if at.tzinfo is not None else at.replace(tzinfo=zone)
    return _Read(_since_epoch(local), _since_epoch(local + _LAST_OF_DAY) if day_only else None)


def _from_epoch(number: float) -> _Read | None:
    for below, milliseconds in _UNITS:
        if abs(number) < below:
            return _Read(round(number * milliseconds))
    return None


def _since_epoch(at: datetime) -> EpochMillis:
    return (at - _EPOCH) // _MILLISECOND


def _iso(at: EpochMillis) -> str:
    return (_EPOCH + at * _MILLISECOND).isoformat(timespec="seconds")
