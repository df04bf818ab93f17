"""Reads one field of a sender's object: trims, converts, and refuses with the field's name and a remedy.

Senders are web forms, CRMs and spreadsheets, so numbers come as text and empty text means "not given". What cannot be
read without guessing is refused: a wrong amount or somebody else's visitor is worse than an error. Identifiers are in
``producers.identifiers``, amounts in ``producers.money``, times in ``producers.times``.

Every reader looks at the length before it looks at the content, so that a field costs the same whatever is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.characters import control_in, without_invisible

Values = Mapping[str, Any]

TEXT_LIMIT: Final = 256
# What may stand around a text of that length and be taken off: quotes, escapes of three characters for each one of it.
WRITTEN_LIMIT: Final = 2048


class BadField(ValueError):
    """A field cannot be used. ``field`` is its path; the text says why and what to send, and never quotes the value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self._message = message

    @property
    def problem(self) -> str:
        """Why, without what to send instead."""
        return self._message.partition("; ")[0]

    def within(self, path: str) -> BadField:
        """Return the same refusal with ``path`` in front of the field's name."""
        return type(self)(path + self.field, self._message)


def text(values: Values, name: str) -> str | None:
    """Return a text of at most 256 characters, without invisible ones; a JSON integer is taken as its digits.

    Raises:
        BadField: another type, too long, or with control characters.
    """
    value = values.get(name)
    if value is None:
        return None
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise wrong_type(name, value)
    return printable(name, bounded(name, value)) or None


def bounded(name: str, value: str) -> str:
    """Return ``value`` without surrounding space.

    Raises:
        BadField: it is longer than anything that could be made into a text.
    """
    stripped = value.strip()
    if len(stripped) > WRITTEN_LIMIT:
        raise _too_long(name)
    return stripped


def printable(name: str, written: str) -> str:
    """Return ``written`` without invisible characters and surrounding space.

    Raises:
        BadField: too long, or with control characters.
    """
    cleaned = written if written.isascii() else without_invisible(written).strip()
    if len(cleaned) > TEXT_LIMIT:
        raise _too_long(name)
    if (control := control_in(cleaned)) is not None:
        raise BadField(name, f"contains control characters ({control}); send printable text")
    return cleaned


def wrong_type(name: str, value: object) -> BadField:
    """Return the refusal of a value that is no text."""
    if type(value) is float:
        return BadField(name, "is a number that JSON readers round (beyond 2^53 digits get lost); send it as text")
    return BadField(name, "is neither text nor a whole number; send it as text")


def _too_long(name: str) -> BadField:
    return BadField(name, f"is longer than {TEXT_LIMIT} characters; send a shorter one")
