"""Cuts values out of a request body that must not be stored, and leaves every other byte as it came."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote_plus

import orjson

CUT: Final = b"[what followed could not be read and may not be kept]"

_LAST_BRACKET: Final = re.compile(r".*\[([^\[\]]+)\]\s*", re.DOTALL)

Replacement = Callable[[str], str]


def redacted(body: bytes, content_type: str | None, names: frozenset[str], replacement: Replacement) -> bytes:
    """Return ``body`` with the values of the fields ``names`` (in lower case; any case is meant) replaced.

    ``auth[token]`` is a field ``token``. In a form the values' bytes are replaced, and JSON that has such a field is
    written anew; otherwise the body comes back as it is. What cannot be read is cut off where such a name appears.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _of_multipart(body, names, replacement)
    bare = body.removeprefix(codecs.BOM_UTF8)
    if "json" in kind or bare.lstrip()[:1] in (b"{", b"["):
        return _of_json(body, bare, names, replacement)
    return b"&".join(_of_pair(pair, names, replacement) for pair in body.split(b"&"))


def _of_pair(pair: bytes, names: frozenset[str], replacement: Replacement) -> bytes:
    name, _, value = pair.partition(b"=")
    spoken = unquote_plus(name.decode("latin-1"), "latin-1")
    inner = _LAST_BRACKET.fullmatch(spoken)
    if (inner[1] if inner else spoken).strip().lower() not in names:
        return pair
    text = unquote_plus(value.decode("utf-8", "replace"))
    new = replacement(text)
    return pair if new == text else name + b"=" + quote(new, safe="").encode()


def _of_json(body: bytes, bare: bytes, names: frozenset[str], replacement: Replacement) -> bytes:
    try:
        values = orjson.loads(bare)
        changed = _replaced(values, names, replacement)
        # A name may stand twice in an object; only one of them is among the values.
        return body if changed == values and not _marks(names).search(body) else orjson.dumps(changed)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        return _cut(body, names)


def _replaced(value: Any, names: frozenset[str], replacement: Replacement) -> Any:
    if isinstance(value, list):
        return [_replaced(one, names, replacement) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: replacement(inner if isinstance(inner, str) else "")
        if name.strip().lower() in names
        else _replaced(inner, names, replacement)
        for name, inner in value.items()
    }


def _of_multipart(body: bytes, names: frozenset[str], replacement: Replacement) -> bytes:
    header, part = _part_patterns(names)
    replaced, found = part.subn(lambda one: one[1] + replacement(one[2].decode("utf-8", "replace")).encode(), body)
    return replaced if found == len(header.findall(body)) else _cut(body, names)


def _cut(body: bytes, names: frozenset[str]) -> bytes:
    found = _marks(names).search(body)
    return body if found is None else body[: found.start()] + CUT


@lru_cache
def _marks(names: frozenset[str]) -> re.Pattern[bytes]:
    return re.compile("|".join(map(re.escape, sorted(names))).encode(), re.IGNORECASE)


@lru_cache
def _part_patterns(names: frozenset[str]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """What the header of a part of one of these names begins with, and its headers and content as a whole."""
    header = rf'\bname="?(?:[^"\r\n]*\[)?(?:{"|".join(map(re.escape, sorted(names)))})\b'
    part = rf"({header}[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)(.*?)(?=\r\n--|\Z)"
    flags = re.IGNORECASE | re.DOTALL
    return re.compile(header.encode(), flags), re.compile(part.encode(), flags)
