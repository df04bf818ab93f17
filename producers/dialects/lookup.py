"""Finds a field in a sender's object: by its exact name, by a path, or by its name however people spell it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from producers.spelling import spelling

_PARTS: Final = re.compile(r"[^.\[\]]+")


class Sheet:
    """What a sender says of one conversion.

    Of several objects the first counts where they differ, and a field without content does not count at all. What
    several conversions have in common (an address, say) is a sheet of its own, given to each of theirs: read once.
    """

    __slots__ = ("_objects", "_spelt")

    def __init__(self, *objects: Mapping[str, Any] | Sheet) -> None:
        self._objects: list[Mapping[str, Any]] = []
        self._spelt: list[Mapping[str, Any]] = []
        for one in objects:
            if isinstance(one, Sheet):
                self._objects += one._objects
                self._spelt += one._spelt
            else:
                self._objects.append(one)
                self._spelt.append(_by_spelling(one))

    def find(self, path: str) -> Any:
        """Return what stands under a name or a path such as ``data.FIELDS.ID``, ``payment[orderid]``; else ``None``."""
        for one in self._objects:
            if not _empty(value := one.get(path)):
                return value
        parts, spelt = _read(path)
        if len(parts) > 1:
            for one in self._objects:
                if not _empty(value := _walk(one, parts)):
                    return value
        return next((one[spelt] for one in self._spelt if spelt in one), None)


def _by_spelling(one: Mapping[str, Any]) -> dict[str, Any]:
    spelt: dict[str, Any] = {}
    for name, value in one.items():
        if not _empty(value):
            spelt.setdefault(spelling(name), value)
    return spelt


@lru_cache(maxsize=1024)
def _read(path: str) -> tuple[tuple[str, ...], str]:
    return tuple(_PARTS.findall(path)), spelling(path)


def _walk(value: Any, parts: tuple[str, ...]) -> Any:
    for part in parts:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif (
            isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(value)
        ):
            value = value[int(part)]
        else:
            return None
    return value


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
