"""Cuts values out of a request body that must not be stored, and leaves every other byte as it came.

Bodies come here before anybody knows whether their sender may speak, so the work grows with their length and no faster.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote_plus

import orjson
from python_multipart.multipart import parse_options_header

CUT: Final = b"[what followed could not be read and may not be kept]"

# The head of a part names its field in a line; a longer one is nobody's.
_HEAD_BYTES: Final = 4096

# The names that are looked for, each character written as %XX, with room for brackets.
_NAME_BYTES: Final = 1024

# No form with as many is ever read.
_MOST_FIELDS: Final = 100_000

Replacement = Callable[[str], str]


def redacted(body: bytes, content_type: str | None, names: frozenset[str], replacement: Replacement) -> bytes:
    """Return ``body`` with the values of the fields ``names`` (in lower case; any case is meant) replaced.

    ``auth[token]`` is a field ``token``. In a form the values' bytes are replaced, and JSON that has such a field is
    written anew; otherwise the body comes back as it is. What cannot be read is cut off where such a name appears.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return _of_multipart(body, options.get(b"boundary", b""), names, replacement)
    bare = body.removeprefix(codecs.BOM_UTF8)
    if b"json" in kind or bare.lstrip()[:1] in (b"{", b"["):
        return _of_json(body, bare, names, replacement)
    if body.count(b"&") > _MOST_FIELDS:
        return _cut(body, names)
    return b"&".join(_of_pair(pair, names, replacement) for pair in body.split(b"&"))


def _of_pair(pair: bytes, names: frozenset[str], replacement: Replacement) -> bytes:
    name, _, value = pair.partition(b"=")
    if len(name) > _NAME_BYTES or not _is_named(unquote_plus(name.decode("latin-1"), "latin-1"), names):
        return pair
    text = unquote_plus(value.decode("utf-8", "replace"))
    new = replacement(text)
    return pair if new == text else name + b"=" + quote(new, safe="").encode()


def _is_named(spoken: str, names: frozenset[str]) -> bool:
    """Whether a form's field of this name is meant: by its last bracket, if it ends in one."""
    name = spoken.strip()
    if name.endswith("]"):
        name = name[name.rfind("[") + 1 : -1].strip()
    return name.lower() in names


def _of_json(body: bytes, bare: bytes, names: frozenset[str], replacement: Replacement) -> bytes:
    try:
        values = orjson.loads(bare)
        changed = _replaced(values, names, replacement)
        # A name may stand twice in an object; only one of them is among the values.
        return body if changed == values and _first_mark(body, names) is None else orjson.dumps(changed)
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


def _of_multipart(body: bytes, boundary: bytes, names: frozenset[str], replacement: Replacement) -> bytes:
    """Replace the content of the parts that are meant; where parts cannot be told for certain, cut."""
    if not boundary:
        return _cut(body, names)
    line = b"\r\n"
    between = line + b"--" + boundary
    front, *parts = (line + body).split(between)
    around = [front, parts.pop()] if parts and parts[-1].startswith(b"--") else [front]
    found = [_of_part(part, names, replacement) for part in parts]
    known = [part for part in found if part is not None]
    if len(known) < len(found) or any(_first_mark(one, names) is not None for one in around):
        return _cut(body, names)
    return between.join([front, *known, *around[1:]]).removeprefix(line)


def _of_part(part: bytes, names: frozenset[str], replacement: Replacement) -> bytes | None:
    """Return a part as it may be stored; ``None`` where its head mentions a name and cannot be understood."""
    head, blank, content = part.partition(b"\r\n\r\n")
    if _first_mark(head, names) is None:
        return part
    if not blank or len(head) > _HEAD_BYTES:
        return None
    spoken = [
        parse_options_header(value.strip())[1].get(b"name")
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
        if name.strip().lower() == b"content-disposition"
    ]
    if len(spoken) != 1 or spoken[0] is None:
        return None
    if not _is_named(spoken[0].decode("utf-8", "replace"), names):
        return part
    return head + blank + replacement(content.decode("utf-8", "replace")).encode()


def _cut(body: bytes, names: frozenset[str]) -> bytes:
    found = _first_mark(body, names)
    return body if found is None else body[:found] + CUT


def _first_mark(text: bytes, names: frozenset[str]) -> int | None:
    """Return where the first of ``names`` stands in ``text``. A pattern for it takes fifty times as long."""
    lowered = text.lower()
    places = [place for name in names if (place := lowered.find(name.encode())) >= 0]
    return min(places, default=None)
