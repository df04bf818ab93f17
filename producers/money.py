"""Amounts of money as people, spreadsheets and CRMs write them, with the currency that may stand beside one."""

from __future__ import annotations

import html
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NamedTuple

from producers.fields import BadField, Values
from schemas.characters import without_invisible
from schemas.currencies import NoCurrency, currencies_named

# Twenty digits, their separators, and a currency in words; whatever is longer is no amount.
_LENGTH_LIMIT: Final = 64
# The Avro schema holds 18 digits, four of them behind the point.
_STEP: Final = Decimal("0.0001")
_AMOUNT_LIMIT: Final = Decimal("99999999999999.9999")

# Any space, and the apostrophe: what people group thousands with.
_GROUPED_BY: Final = re.compile("(?<=[0-9])[ '](?=[0-9]{3}(?![0-9]))")
_SPACE: Final = re.compile(r"\s", re.UNICODE)
_APOSTROPHE: Final = re.compile("[\u2018\u2019\u02bc\u2032\uff07\u00b4`]")
# The minus sign, and what programs for texts make of a hyphen.
_MINUS: Final = re.compile("[\u2212\u2010-\u2013\ufe63\uff0d]")
_NUMBER: Final = re.compile(r"[0-9](?:.{0,62}[0-9])?")
_ENTITY: Final = re.compile(r"&#?[0-9A-Za-z]{2,8};")

# Once by the page, once more by the program that has passed it on.
_ESCAPED_TIMES: Final = 2

_PLAIN_AMOUNT: Final = re.compile(r"(?:[0-9]{1,30}(?:[.,][0-9]{0,30})?|[.,][0-9]{1,30})")
_AMBIGUOUS_AMOUNT: Final = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")
_POINT_LAST: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){1,8}\.[0-9]{1,30}|[0-9]{1,3}(?:,[0-9]{3}){2,8}")
_COMMA_LAST: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3}){1,8},[0-9]{1,30}|[0-9]{1,3}(?:\.[0-9]{3}){2,8}")

_NO_NUMBER: Final = "is not a number; send one, for example 1500.50"


class Money(NamedTuple):
    """An amount with at most four decimals. ``currencies`` are those that may be meant beside it, as of
    :func:`~schemas.currencies.currencies_named`; empty where none is named."""

    amount: Decimal
    currencies: tuple[str, ...] = ()


def money(values: Values, name: str) -> Money | None:
    """Return an amount with at most four decimals (half up), and the currency beside it.

    Text may have a decimal comma, grouped thousands, and a currency before it, behind it or behind a bar, as a code, a
    sign or a word. Negative amounts are allowed: they report a refund. ``1,500`` is refused, because it is 1500 to
    some and 1.5 to others.

    Raises:
        BadField: no number, not finite, 10^14 and more, or with a currency that is none today.
    """
    value = values.get(name)
    if value is None:
        return None
    if type(value) is int:
        return Money(_fitting(name, Decimal(value)))
    if type(value) is float:
        return Money(_fitting(name, Decimal(repr(value))))
    if type(value) is str:
        return _written(name, value)
    raise BadField(name, _NO_NUMBER)


def currencies(values: Values, name: str) -> tuple[str, ...]:
    """Return the codes of ISO 4217 that a field may mean, the likeliest first; none where it is empty.

    Raises:
        BadField: it names no currency, or one that was replaced.
    """
    value = values.get(name)
    written = str(value) if type(value) is int else value
    if written is None:
        return ()
    if type(written) is not str:
        raise BadField(name, "is no currency of ISO 4217; send its three letters, for example RUB")
    written = written.strip()
    if len(written) > _LENGTH_LIMIT:
        raise BadField(name, "is too long for a currency; send three letters of ISO 4217, for example RUB")
    return _named(name, _normal(written))


def _fitting(name: str, number: Decimal) -> Decimal:
    if not number.is_finite() or abs(number) > _AMOUNT_LIMIT:
        raise BadField(name, "is not a finite number below 10^14; send the amount in units, for example 1500.50")
    return number.quantize(_STEP, ROUND_HALF_UP) + 0


def _written(name: str, value: str) -> Money | None:
    written = value.strip()
    if not written:
        return None
    if len(written) > _LENGTH_LIMIT:
        raise BadField(name, f"is longer than {_LENGTH_LIMIT} characters, which no amount is; send one such as 1500.50")
    if _PLAIN_AMOUNT.fullmatch(written) and not _AMBIGUOUS_AMOUNT.fullmatch(written):
        return Money(_fitting(name, Decimal(written.replace(",", "."))))
    amount, bar, code = _normal(written).partition("|")
    if bar and not amount.strip():
        return None  # Bitrix24's field of money that nobody has filled in
    return _taken_apart(name, amount.strip(), code.strip())


def _normal(written: str) -> str:
    """Return text with plain spaces, minus signs and apostrophes, and nothing invisible."""
    for _ in range(_ESCAPED_TIMES):
        if "&" not in written or not _ENTITY.search(written):
            break
        written = html.unescape(written)
    if written.isascii():
        return _SPACE.sub(" ", written)
    spaced = _SPACE.sub(" ", without_invisible(written))
    return _MINUS.sub("-", _APOSTROPHE.sub("'", spaced)).strip()


def _taken_apart(name: str, written: str, code: str) -> Money:
    """Read ``[currency] [sign] number [currency]``; ``code`` is one more currency, from behind a bar."""
    found = _NUMBER.search(written)
    if found is None:
        raise BadField(name, _NO_NUMBER)
    before, number, behind = written[: found.start()].strip(), found[0], written[found.end() :].strip()
    if before[-1:] in (".", ",") and before[:-1] in ("", "+", "-"):
        before, number = before[:-1], before[-1] + number
    if behind[:1] in (".", ",") and behind[1:2] in ("", " "):
        behind, number = behind[1:].strip(), number + behind[0]
    sign, before = _sign_of(before)
    size = _number_from(name, number)
    named = [_named(name, one) for one in (before, behind, code) if one]
    return Money(_fitting(name, -size if sign == "-" else size), _common(name, named))


def _sign_of(before: str) -> tuple[str, str]:
    """Return the sign in front of a number, and what else stands there: ``-$``, ``$-`` and ``RUB -`` are the same."""
    for at in (0, -1):
        if before and before[at] in "+-":
            return before[at], (before[1:] if at == 0 else before[:-1]).strip()
    return "", before


def _number_from(name: str, written: str) -> Decimal:
    joined = _GROUPED_BY.sub("", written)
    if joined == written and _AMBIGUOUS_AMOUNT.fullmatch(written):
        raise BadField(name, "can be read in two ways because of its comma; send 1500 or 1.5")
    if _PLAIN_AMOUNT.fullmatch(joined):
        return Decimal(joined.replace(",", "."))
    if _POINT_LAST.fullmatch(written):
        return Decimal(written.replace(",", ""))
    if _COMMA_LAST.fullmatch(written):
        return Decimal(written.replace(".", "").replace(",", "."))
    raise BadField(name, _NO_NUMBER)


def _named(name: str, written: str) -> tuple[str, ...]:
    if not written:
        return ()
    try:
        return currencies_named(written)
    except NoCurrency as exc:
        raise BadField(name, str(exc)) from exc


def _common(name: str, named: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the currencies that each of several names may mean.

    Raises:
        BadField: they contradict each other.
    """
    if not named:
        return ()
    first, *others = named
    common = tuple(one for one in first if one and all(one in other for other in others)) if others else first
    if not common:
        raise BadField(name, "names two currencies; send one")
    return common
