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

    Of several objects the first counts where they differ, and a field without content does not count at all.
    """

    __slots__ = ("_objects", "_spelt")

    def __init__(self, *objects: Mapping[str, Any]) -> None:
        self._objects = objects
        self._spelt: dict[str, Any] = {}
        for one in objects:
            for name, value in one.items():
                if not _empty(value):
                    self._spelt.setdefault(spelling(name), value)

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
        return self._spelt.get(spelt)


@lru_cache(maxsize=1024)
def _read(path: str) -> tuple[tuple[str, ...], str]:
    return tuple(_PARTS.findall(path)), spelling(path)


def _walk(value: Any, parts: tuple[str, ...]) -> Any:
    for part in parts:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
