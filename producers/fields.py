"""Reads one field of a sender's object: trims, converts, and refuses with the field's name and a remedy.

Senders are web forms, CRMs and spreadsheets, so numbers come as text and empty text means "not given". What cannot be
read without guessing is refused: a wrong amount or somebody else's visitor is worse than an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from schemas.events import EpochMillis

Values = Mapping[str, Any]

TEXT_LIMIT: Final = 256
_UINT64_MAX: Final = 2**64 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,20}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

# The Avro schema holds 18 digits, four of them behind the point.
_STEP: Final = Decimal("0.0001")
_AMOUNT_LIMIT: Final = Decimal("99999999999999.9999")
# Space, no-break space, thin and narrow no-break space, apostrophe: what people group thousands with.
_GROUPED_BY: Final = re.compile("(?<=[0-9])[ \u00a0\u2009\u202f'](?=[0-9]{3}(?![0-9]))")
_PLAIN_AMOUNT: Final = re.compile(r"[+-]?(?:[0-9]{1,30}(?:[.,][0-9]{0,30})?|[.,][0-9]{1,30})")
_AMBIGUOUS_AMOUNT: Final = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_POINT_LAST: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]{1,30}|[+-]?[0-9]{1,3}(?:,[0-9]{3}){2,8}")
_COMMA_LAST: Final = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]{1,30}|[+-]?[0-9]{1,3}(?:\.[0-9]{3}){2,8}")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# 10^11 seconds are the year 5138 and 10^11 milliseconds are 1973: no real event is near either.
_SECONDS_BELOW: Final = 10**11
_EARLIEST: Final[EpochMillis] = 946_684_800_000
_FUTURE_LIMIT_MS: Final = 366 * 24 * 60 * 60 * 1000
_EPOCH_TEXT: Final = re.compile(r"[0-9]{9,16}(?:\.[0-9]{1,9})?")
_DOTTED_DATE: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?", re.ASCII)
# The plus of an offset in an address that nobody has encoded comes as a space.
_SPACE_FOR_PLUS: Final = re.compile(r"(?<=[\d:]{5}) (?=\d{2}:\d{2}$)", re.ASCII)
_SPACED_OFFSET: Final = re.compile(r"\s+(?=[+-]\d{2}:?\d{0,2}$|Z$)", re.ASCII)


class BadField(ValueError):
    """A field cannot be used. ``field`` is its path; the text says why and what to send, and never quotes the value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self._message = message

    def within(self, path: str) -> BadField:
        """Return the same refusal with ``path`` in front of the field's name."""
        return BadField(path + self.field, self._message)


def text(values: Values, name: str) -> str | None:
    """Return a text or identifier of at most 256 characters; a JSON integer is taken as its digits.

    Raises:
        BadField: another type, too long, or with control characters.
    """
    value = values.get(name)
    if value is None:
        return None
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise _wrong_type(name, value)
    stripped = value.strip()
    if len(stripped) > TEXT_LIMIT:
        raise BadField(name, f"is longer than {TEXT_LIMIT} characters; send a shorter one")
    if not stripped.isprintable() and _CONTROL.search(stripped):
        raise BadField(name, "contains control characters; send printable text")
    return stripped or None


def digits(values: Values, name: str) -> str | None:
    """Return a Metrika identifier: up to 20 decimal digits, at most 2^64-1, as text because it exceeds 2^53.

    Raises:
        BadField: anything else, also a number with a fraction or an exponent, because it has lost digits already.
    """
    value = text(values, name)
    if value is not None and (_DIGITS.fullmatch(value) is None or int(value) > _UINT64_MAX):
        raise BadField(name, "is not 1 to 20 decimal digits of at most 2^64-1; send it as the site's script read it")
    return value


def amount(values: Values, name: str) -> Decimal | None:
    """Return money with at most four decimals (half up). Text may have a decimal comma and grouped thousands.

    Negative amounts are allowed: they report a refund. ``1,500`` is refused, because it is 1500 to some and 1.5 to
    others.

    Raises:
        BadField: no number, not finite, or 10^14 and more.
    """
    value = values.get(name)
    if value is None:
        return None
    if type(value) is int:
        number = Decimal(value)
    elif type(value) is float:
        number = Decimal(repr(value))
    elif type(value) is str:
        stripped = value.strip()
        if not stripped:
            return None
        number = _amount_from(name, stripped)
    else:
        raise BadField(name, "is not a number; send one, for example 1500.50")
    if not number.is_finite() or abs(number) > _AMOUNT_LIMIT:
        raise BadField(name, "is not a finite number below 10^14; send the amount in units, for example 1500.50")
    return number.quantize(_STEP, ROUND_HALF_UP) + 0


def _amount_from(name: str, written: str) -> Decimal:
    joined = _GROUPED_BY.sub("", written)
    if joined == written and _AMBIGUOUS_AMOUNT.fullmatch(written):
        raise BadField(name, "can be read in two ways because of its comma; send 1500 or 1.5")
    if _PLAIN_AMOUNT.fullmatch(joined):
        return Decimal(joined.replace(",", "."))
    if _POINT_LAST.fullmatch(written):
        return Decimal(written.replace(",", ""))
    if _COMMA_LAST.fullmatch(written):
        return Decimal(written.replace(".", "").replace(",", "."))
    raise BadField(name, "is not a number; send one, for example 1500.50")


def currency(values: Values, name: str) -> str | None:
    """Return three capital letters (ISO 4217).

    Raises:
        BadField: anything else.
    """
    value = text(values, name)
    if value is not None and not (len(value) == 3 and value.isascii() and value.isalpha()):
        raise BadField(name, "is not a three-letter code; send one of ISO 4217, for example RUB")
    return value.upper() if value is not None else None


def moment(values: Values, name: str, *, now: EpochMillis) -> EpochMillis | None:
    """Return a time as epoch milliseconds.

    Understood are ISO 8601 (a space for the T is fine; without an offset it is UTC), ``DD.MM.YYYY[ HH:MM[:SS]]``
    (UTC), and epoch seconds or milliseconds as number or text.

    Raises:
        BadField: anything else, before the year 2000, or more than a year after ``now``.
    """
    value = values.get(name)
    if value is None or (type(value) is str and not value.strip()):
        return None
    try:
        found = _milliseconds_of(value)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise BadField(name, "is no time; send ISO 8601 such as 2026-03-01T12:30:00+03:00, or epoch seconds")
    if not _EARLIEST <= found <= now + _FUTURE_LIMIT_MS:
        raise BadField(name, "is before the year 2000 or more than a year ahead; send the time of the event")
    return found


def _milliseconds_of(value: object) -> EpochMillis | None:
    if type(value) is int or type(value) is float:
        return _from_epoch(value)
    if type(value) is not str:
        return None
    written = value.strip()
    if _EPOCH_TEXT.fullmatch(written):
        return _from_epoch(float(written) if "." in written else int(written))
    dotted = _DOTTED_DATE.fullmatch(written) if "." in written[:3] else None
    if dotted:
        day, month, year, hour, minute, second = (int(part or 0) for part in dotted.groups())
        parsed = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    else:
        if " " in written:
            written = _SPACED_OFFSET.sub("", _SPACE_FOR_PLUS.sub("+", written))
        parsed = datetime.fromisoformat(written)
    return ((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _from_epoch(number: float) -> EpochMillis:
    return round(number * 1000) if abs(number) < _SECONDS_BELOW else round(number)


def _wrong_type(name: str, value: object) -> BadField:
    if type(value) is float:
        return BadField(name, "is a number that JSON readers round (beyond 2^53 digits get lost); send it as text")
    return BadField(name, "is neither text nor a whole number; send it as text")
