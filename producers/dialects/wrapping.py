"""JSON that comes inside something else: in another encoding, as text in JSON, or carried by a field of a form.

Programs encode twice, post JSON as a form, or put it into the field that their form has for it. Where only one thing
can be meant it is taken; a form that says something itself as well stays the form that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson

from producers.dialects.contract import FIELDS
from producers.dialects.nesting import grouped, nested
from producers.spelling import spelling

# Text in text in text is what three libraries make that each encode; more is a game.
_DEEPEST: Final = 3
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# RFC 4627, section 3: the NULs among the first two characters of JSON without a mark tell its encoding.
_UTF16_WITHOUT_MARK: Final = {
    **{mark + b"\0": "utf-16-le" for mark in (b"{", b"[", b'"')},
    **{b"\0" + mark: "utf-16-be" for mark in (b"{", b"[", b'"')},
}
_BLANK: Final = b"\0 \t\r\n"
# What a mark, or UTF-16, does not begin with.
_USUAL_BEGINNING: Final = frozenset(range(1, 0xEF))
_ENCODED: Final = (b"%7b", b"%5b", b"%22", b"%ef%bb%bf")
_ENCODED_ENDS: Final = (b"%7d", b"%5d", b"%22")

# What a field is called that carries a whole body, without case and punctuation.
_CARRIERS: Final = frozenset(
    {"payload", "data", "body", "rawbody", "json", "jsonbody", "jsondata", "formdata", "request", "requestbody"}
    | {"content", "message", "params", "parameters", "input", "hook", "webhook", "event"}
)
_SAYS_SOMETHING: Final = frozenset(map(spelling, FIELDS))


def bare(body: bytes) -> bytes:
    """Return the body's text in UTF-8 (or in whichever 8-bit encoding it came): without marks and padding.

    ``body`` itself, where there is nothing to take off, or nothing else in it.
    """
    if not body or (body[0] in _USUAL_BEGINNING and body[-1] not in _BLANK and body[1:2] != b"\0"):
        return body
    text = body
    if (encoding := _UTF16.get(body[:2]) or _UTF16_WITHOUT_MARK.get(body[:2])) is not None:
        text = _transcoded(body, encoding)
    if text.startswith(_UTF8_MARK):
        # Two programs that each write a mark make two of them.
        text = text.removeprefix(_UTF8_MARK).removeprefix(_UTF8_MARK)
    trimmed = text.rstrip(_BLANK)
    if b"\0" in text[len(trimmed) :]:
        text = trimmed
    return text if text.strip() else body


def _transcoded(body: bytes, encoding: str) -> bytes:
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        return body
    # A form in windows-1251 may begin with these bytes, too; read as UTF-16 it has no structure.
    structured = text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", '"') or "=" in text
    return text.encode("utf-8", "replace") if structured else body


def looks_like_json(body: bytes) -> bool:
    """Whether a body begins as an object, an array, or a text that holds one."""
    begin = body.lstrip()[:64]
    return begin[:1] in (b"{", b"[") or (begin[:1] == b'"' and begin[1:].lstrip()[:1] in (b"{", b"[", b"\\"))


def json_candidates(body: bytes) -> Sequence[bytes]:
    """Return what may be JSON of a body that may be a form: without its percent-encoding, without its last ``=``."""
    whole = body.strip()
    named = whole[:-1] if whole.endswith(b"=") else whole
    if looks_like_json(whole):
        return (body,) if named is whole else (body, named)
    if whole[:9].lower().startswith(_ENCODED) and named[-3:].lower() in _ENCODED_ENDS:
        return (unquote_to_bytes(named.replace(b"+", b" ")).removeprefix(_UTF8_MARK),)
    return ()


def json_of(body: bytes) -> Any:
    """Return the JSON of a body that is to be nothing else: without marks and padding, encoded once or twice.

    Raises:
        orjson.JSONDecodeError: it is none.
    """
    values = orjson.loads(bare(body))
    return unwrapped(values) if isinstance(values, str) else values


def unwrapped(values: Any) -> Any:
    """Return what JSON says: a text that holds JSON is that JSON, and so is one that is all there is in an object.

    The same object comes back where nothing is wrapped.
    """
    if isinstance(values, str):
        inner = _held(values)
        return values if inner is None else inner
    if isinstance(values, dict) and len(values) == 1:
        ((name, value),) = values.items()
        inner = None if spelling(name) in _SAYS_SOMETHING else _held(value)
        if isinstance(inner, dict):
            return {name: inner, **inner}
        return inner if inner is not None and spelling(name) in _CARRIERS else values
    return values


def carried(pairs: Sequence[tuple[str, str]], declared: frozenset[str] = frozenset()) -> Any:
    """Return what the one field of a form says that carries JSON, or ``None``.

    That is a field of its own, one that is called so, a name without a value, or one of ``declared``. Fields beside it
    are added; if these say something of a conversion themselves, or contradict it, the form has a meaning of its own.
    """
    if not any("{" in value or "{" in name for name, value in pairs):  # most forms, at a fraction of the time
        return None
    found = [(index, *one) for index, pair in enumerate(pairs) if (one := _carrier(pair, declared, len(pairs) == 1))]
    if len(found) != 1:
        return None
    ((at, name, inner),) = found
    others = nested(grouped([pair for index, pair in enumerate(pairs) if index != at]))
    if isinstance(inner, dict):
        inner = {name: inner, **inner} if name else inner
    elif others:
        return None
    if not others:
        return inner
    beside = frozenset(map(spelling, others))
    if not _SAYS_SOMETHING.isdisjoint(beside) or not beside.isdisjoint(map(spelling, inner)):
        return None
    return {**others, **inner}


def _carrier(pair: tuple[str, str], declared: frozenset[str], alone: bool) -> tuple[str, Any] | None:
    name, value = pair
    if not value.strip():
        inner = _held(name.removeprefix("\ufeff"))
        return None if inner is None else ("", inner)
    called = spelling(name)
    if called in _SAYS_SOMETHING or not (alone or name in declared or called in _CARRIERS):
        return None
    inner = _held(value)
    return None if inner is None else (name, inner)


def _held(value: Any) -> dict[str, Any] | list[Any] | None:
    """Return the object or array that a text holds; empty ones are no content, and what is no text holds nothing."""
    found = value
    for _ in range(_DEEPEST):
        if not isinstance(found, str) or found.lstrip()[:1] not in ("{", "[", '"'):
            break
        try:
            found = orjson.loads(found)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            return None
    return found if found is not value and isinstance(found, dict | list) and found else None
