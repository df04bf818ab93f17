"""Identifiers of visitors, clicks, orders and deliveries: what people and programs wrap around one is taken off.

They are copied from pages, cookies and spreadsheets. Nothing is guessed by leaving out an invisible character, quotes,
Excel's ``="..."``, the field's own name in front, percent-encoding, or a list around a single one.

Some values say that there is none, in the words of a program: JSON's ``0`` and ``false``, ``undefined``, a placeholder
that nobody has filled in. Taken for an id, one of them would make all visitors one, or all orders.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote

from producers.fields import BadField, Values, bounded, printable, wrong_type
from producers.spelling import spelling
from schemas.characters import without_invisible

_UINT64_MAX: Final = 2**64 - 1
_EXACT_BELOW: Final = 2**53
_DIGITS: Final = re.compile(r"[0-9]{1,20}")
# As nearly every one comes: too short to be beyond the limit, and not zero.
_LONGEST_DIGITS: Final = 20
_DIGITS_OF_ONE: Final = re.compile(r"[1-9][0-9]{0,18}")
_REMEDY: Final = "send it as the site's script read it"

# Wrapped more often than that is nothing that a person or program does.
_WRAPPINGS: Final = 6
_QUOTES: Final = (
    "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u2032\u2033\uff02\uff07"
)
_BEHIND_DIGITS: Final = ";, "
_ESCAPED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY: Final = re.compile(r"&#?[0-9A-Za-z]{2,8};")
_NAMED: Final = re.compile(r"[?&]?([A-Za-z_][\w.\- ]{0,31})[=:]\s?", re.ASCII)
# The names under which a field is copied together with its value, as `spelling` spells them.
_OWN_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "ym_uid": frozenset({"ymuid", "clientid", "ymclientid", "yandexclientid", "metrikaclientid"}),
    "session_id": frozenset({"sessionid", "tasessionid"}),
    "user_id": frozenset({"userid"}),
}

_NOTHINGS: Final = frozenset(
    {"null", "undefined", "nan", "nil", "false", "true", "[object object]", "(not set)", "(none)"}
)
_NOTHING_OF_PYTHON: Final = "None"
_LONGEST_NOTHING: Final = max(map(len, _NOTHINGS))
# Nearly every id is one of these, and has nothing around it.
_PLAIN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,255}")


class NoIdentifier(BadField):
    """A field is there, and its content says that there is no identifier: no reason to refuse what has another one."""


def identifier(values: Values, name: str) -> str | None:
    """Return an identifier of at most 256 characters; a JSON integer is taken as its digits.

    Raises:
        NoIdentifier: the value stands for "none".
        BadField: another type, too long, with control characters, or a number that JavaScript has rounded.
    """
    value = values.get(name)
    if value is None:
        return None
    if type(value) is not str:
        return _of_json(name, value)
    return _unwrapped(name, value)


def digits(values: Values, name: str) -> str | None:
    """Return a Metrika identifier: up to 20 decimal digits, at most 2^64-1, as text because it exceeds 2^53.

    Raises:
        NoIdentifier: the value stands for "none".
        BadField: anything else, also a number with a fraction or an exponent, because it has lost digits already.
    """
    value = values.get(name)
    if type(value) is str and len(value) < _LONGEST_DIGITS and _DIGITS_OF_ONE.fullmatch(value):
        return value
    found = identifier(values, name)
    if found is None:
        return None
    found = found.rstrip(_BEHIND_DIGITS)
    if _DIGITS.fullmatch(found) is None or int(found) > _UINT64_MAX:
        raise BadField(name, f"is there and is no id: it is not 1 to 20 decimal digits of at most 2^64-1; {_REMEDY}")
    if not int(found):
        raise _none(name, "it is the number 0")
    return found


def _of_json(name: str, value: Any) -> str | None:
    """Return the identifier in a JSON value: a number, or a list that holds nothing else."""
    for _ in range(_WRAPPINGS):
        # A form's list of one comes as an object with the index 0.
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and len(value) == 1 and "0" in value:
            value = value["0"]
        else:
            break
    if value is None:
        return None
    if type(value) is str:
        return _unwrapped(name, value)
    if type(value) is int:
        return _of_number(name, value)
    if value is False or value in ([], {}):
        raise _none(name, "it is false" if value is False else f"it is an empty {'list' if value == [] else 'object'}")
    raise wrong_type(name, value)


def _of_number(name: str, value: int) -> str:
    if value == 0:
        raise _none(name, "it is the number 0")
    if is_rounded(value):
        raise BadField(
            name, "is there and is no id: it is a number that JavaScript has rounded (beyond 2^53); send it as text"
        )
    return str(value)


def is_rounded(number: int) -> bool:
    """Whether a JSON integer is what JavaScript makes of another one: the shortest digits of a double, then zeros."""
    return abs(number) >= _EXACT_BELOW and int(Decimal(repr(float(number)))) == number


def _unwrapped(name: str, value: str) -> str | None:
    if _PLAIN.fullmatch(value):
        if len(value) > _LONGEST_NOTHING:
            return value
        found = value
    else:
        written = bounded(name, value)
        if not written:
            return None
        found = printable(name, _bare(name, written))
    if (why := _why_none(found)) is not None:
        raise _none(name, why)
    return found


def _bare(name: str, written: str) -> str:
    for _ in range(_WRAPPINGS):
        before = written
        written = _without_wrapping(name, without_invisible(written))
        if written == before:
            break
    return written


def _without_wrapping(name: str, written: str) -> str:
    """Return what is inside of the outermost quotes, brackets and encodings."""
    inner = written.strip(_QUOTES).strip()
    inner = inner[1:] if inner[:1] == "=" else inner
    if inner[:1] == "[" and inner[-1:] == "]" and inner.casefold() not in _NOTHINGS:
        inner = inner[1:-1]
    if "%" in inner and _ESCAPED.search(inner):
        inner = _decoded(inner)
    if "&" in inner and _ENTITY.search(inner):
        inner = html.unescape(inner)
    named = _NAMED.match(inner)
    if named is not None and spelling(named[1]) in _OWN_NAMES.get(name, {spelling(name)}):
        # A cookie may have been copied with its attributes.
        inner = inner[named.end() :].partition(";")[0]
    return inner.strip()


def _decoded(written: str) -> str:
    try:
        return unquote(written, errors="strict")
    except UnicodeDecodeError:
        return written


def _why_none(found: str) -> str | None:
    if not found:
        return "there is nothing in it that can be seen"
    if found.casefold() in _NOTHINGS or found == _NOTHING_OF_PYTHON:
        return f"it is the word {found.lower()}"
    if found[0] in "{$" and found[-1] == "}":
        return "it is a placeholder that nobody has filled in"
    if not any(character.isalnum() for character in found):
        return "it has neither letters nor digits"
    return None


def _none(name: str, why: str) -> NoIdentifier:
    return NoIdentifier(name, f"is there and is no id: {why}; {_REMEDY}")
