"""The grammar of written times: a date, a time of day and a zone, in the orders in which they come. Pure.

What can be read in two ways (``03/04/2026``) is refused. Callers have limited the length of what they hand in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from producers.fields import BadField
from schemas.characters import without_invisible

# ISO 8601 writes a date with at most ten characters, and no time of day behind it with less than eleven.
_LONGEST_DATE: Final = 10

_SPACES: Final = re.compile(r"[\s,]+")
_MINUS: Final = re.compile("[\u2212\u2010-\u2013\ufe63\uff0d]")
# The plus of an offset in an address that nobody has encoded comes as a space.
_SPACE_FOR_PLUS: Final = re.compile(r"(?<=[\d:]{5}) (?=\d{2}:\d{2}\Z)", re.ASCII)
# JavaScript names the zone once more, in brackets.
_COMMENT: Final = re.compile(r" \([^()]{0,100}\)\Z")

_CLOCK: Final = re.compile(
    r"(?:(?<=\d)T|(?<![\d.:+-]))(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,30}))?)?(?: ?([ap])\.?m\.?(?![a-z]))?",
    re.ASCII | re.IGNORECASE,
)
_HOUR: Final = re.compile(r"(?<![\d.:+-])(\d{1,2}) ?([ap])\.?m\.?(?![a-z])", re.ASCII | re.IGNORECASE)
_OFFSET: Final = re.compile(r"(?:UTC|GMT)? ?([+-])(\d{1,2})(?::?(\d{2}))?(?![\d:])", re.ASCII | re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z\u0410-\u044f]{1,5}(?![^ ])")

_YEAR_FIRST: Final = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", re.ASCII)
_DOTTED: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_OF_TWO_ORDERS: Final = re.compile(r"(\d{1,2})([-/])(\d{1,2})\2(\d{4})", re.ASCII)
_DAY_FIRST: Final = re.compile(r"(\d{1,2})[ -]([A-Za-z\u0410-\u044f]{3,9})\.?[ -](\d{4})")
_MONTH_FIRST: Final = re.compile(r"([A-Za-z]{3,9})\.? (\d{1,2}) (\d{4})")
# Words around a date that say nothing more: "в 15:05", "14 марта 2026 г."
_FILLERS: Final = frozenset({"at", "в", "г", "г.", "года"})

_MONTHS: Final = (
    ("jan", "янв"), ("feb", "фев"), ("mar", "мар"), ("apr", "апр"), ("may", "мая", "май"), ("jun", "июн"),
    ("jul", "июл"), ("aug", "авг"), ("sep", "сен"), ("oct", "окт"), ("nov", "ноя"), ("dec", "дек"),
)  # fmt: skip
_MONTH: Final[Mapping[str, int]] = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_WEEKDAYS: Final = frozenset(
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "пон", "вто", "сре", "чет", "пят", "суб", "вос",
     "пн", "вт", "ср", "чт", "пт", "сб", "вс")
)  # fmt: skip
_LETTERS: Final = 3


def _hours(offset: float) -> tzinfo:
    return timezone(timedelta(hours=offset))


# Names that stand for one offset wherever they are written (CST, IST, BST and AMT do not). Moscow's own is asked of the
# zone: it has changed under one name.
_ZONES: Final[Mapping[str, tzinfo]] = {
    **dict.fromkeys(("Z", "UTC", "GMT", "UT"), UTC),
    **dict.fromkeys(("MSK", "МСК"), ZoneInfo("Europe/Moscow")),
    "MSD": _hours(4), "WET": _hours(0), "WEST": _hours(1), "CET": _hours(1), "CEST": _hours(2), "EET": _hours(2),
    "EEST": _hours(3), "SAMT": _hours(4), "YEKT": _hours(5), "OMST": _hours(6), "NOVT": _hours(7), "KRAT": _hours(7),
    "IRKT": _hours(8), "YAKT": _hours(9), "VLAT": _hours(10), "MAGT": _hours(11), "PETT": _hours(12),
}  # fmt: skip
# RFC 2822 gives these to North America; outside of its own form of a date others use them as well.
_AMERICAN: Final[Mapping[str, tzinfo]] = {
    "EST": _hours(-5), "EDT": _hours(-4), "CST": _hours(-6), "CDT": _hours(-5), "MST": _hours(-7), "MDT": _hours(-6),
    "PST": _hours(-8), "PDT": _hours(-7),
}  # fmt: skip


class _Clock(NamedTuple):
    """A time of day, and what stands before and behind it. ``halves``: written with AM or PM."""

    since_midnight: timedelta
    halves: bool
    before: str
    behind: str


class _Date(NamedTuple):
    day: datetime
    american: bool = False


def parsed(written: str, *, name: str) -> tuple[datetime, bool]:
    """Return a time, naive where it has no zone, and whether it is a day without a time of day.

    Raises:
        BadField: it can be read in two ways; ``name`` is the field.
        ValueError: it is none.
    """
    try:
        return datetime.fromisoformat(written), len(written) <= _LONGEST_DATE
    except ValueError:
        pass
    plain = _SPACES.sub(" ", _MINUS.sub("-", without_invisible(written))).strip()
    clock = _clock_in(_COMMENT.sub("", _SPACE_FOR_PLUS.sub("+", plain)))
    if clock is None:
        return _date_in(plain, name, halves=False).day, True
    zone, american, rest = _zone_at_beginning(clock.behind)
    date = _date_in(f"{clock.before} {rest}", name, halves=clock.halves)
    if american and not date.american:
        raise ValueError("the name of the zone stands for several")
    at = date.day + clock.since_midnight
    return (at if zone is None else at.replace(tzinfo=zone)), False


def _clock_in(plain: str) -> _Clock | None:
    """Find the time of day: hours with minutes, or an hour with AM or PM."""
    if found := _CLOCK.search(plain):
        hour, minute, second, fraction, half = found.groups()
        since_midnight = timedelta(
            hours=_hour_of(int(hour), half),
            minutes=_below(60, int(minute)),
            seconds=_below(61, int(second or 0)),  # 60 is a leap second
            microseconds=int((fraction or "")[:6].ljust(6, "0")),
        )
    elif found := _HOUR.search(plain):
        half = found[2]
        since_midnight = timedelta(hours=_hour_of(int(found[1]), half))
    else:
        return None
    return _Clock(since_midnight, half is not None, plain[: found.start()].strip(), plain[found.end() :].strip())


def _hour_of(hour: int, half: str | None) -> int:
    if half is None:
        return _below(25, hour)  # 24:00 is the end of the day
    if not 1 <= hour <= 12:
        raise ValueError("twelve hours have no such hour")
    return hour % 12 + (12 if half.lower() == "p" else 0)


def _below(limit: int, number: int) -> int:
    if number >= limit:
        raise ValueError("no clock shows that")
    return number


def _zone_at_beginning(behind: str) -> tuple[tzinfo | None, bool, str]:
    """Return the zone that a text begins with, whether its name is North America's, and the rest of the text."""
    if found := _OFFSET.match(behind):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=_below(60, int(minutes or 0)))
        return timezone(-offset if sign == "-" else offset), False, behind[found.end() :]
    if found := _NAME.match(behind):
        named = found[0].upper()
        if (zone := _ZONES.get(named) or _AMERICAN.get(named)) is not None:
            return zone, named in _AMERICAN, behind[found.end() :]
    return None, False, behind


def _date_in(written: str, name: str, *, halves: bool) -> _Date:
    words = [word for word in written.split() if word.lower() not in _FILLERS]
    if words and words[0].rstrip(".").lower()[:_LETTERS] in _WEEKDAYS:
        words = words[1:]
    plain = " ".join(words)
    if found := _DOTTED.fullmatch(plain):
        return _Date(datetime(int(found[3]), int(found[2]), int(found[1])))
    if found := _YEAR_FIRST.fullmatch(plain):
        return _Date(datetime(int(found[1]), int(found[3]), int(found[4])))
    if found := _OF_TWO_ORDERS.fullmatch(plain):
        return _in_either_order(int(found[1]), int(found[3]), int(found[4]), name, halves=halves)
    if found := _DAY_FIRST.fullmatch(plain):
        return _Date(datetime(int(found[3]), _month(found[2]), int(found[1])), american=True)
    if found := _MONTH_FIRST.fullmatch(plain):
        return _Date(datetime(int(found[3]), _month(found[1]), int(found[2])))
    raise ValueError("no date")


def _in_either_order(first: int, second: int, year: int, name: str, *, halves: bool) -> _Date:
    """Read ``03/14/2026``; the order is told by a number above twelve, or by AM and PM, with which Americans write."""
    if first > 12:
        return _Date(datetime(year, second, first))
    if second > 12 or halves or first == second:
        return _Date(datetime(year, first, second), american=halves)
    raise BadField(name, "can be read in two ways, as the day and the month or the other way round; send 2026-03-14")


def _month(word: str) -> int:
    return _MONTH[word[:_LETTERS].lower()]
