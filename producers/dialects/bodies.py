"""Request bodies as objects: JSON, form, multipart, or whatever it looks like when the sender does not say."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from producers.dialects.sizes import USUAL_SIZES, Sizes, deeper_than

_FORM: Final = b"application/x-www-form-urlencoded"
_MULTIPART: Final = b"multipart/form-data"
_BOM: Final = b"\xef\xbb\xbf"

# What forms come in; other codecs of Python's are slow on purpose-made input (punycode) or no text at all.
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "windows-1251", "cp1251", "koi8-r", "iso-8859-1"})

# A Content-Disposition names a field; splitting one of a megabyte at its quotes takes a second.
_DISPOSITION_BYTES: Final = 4096
# What sites and CRMs of the Windows age send without saying so.
_UNSAID_CHARSET: Final = "windows-1251"

# PostgreSQL's jsonb refuses the NUL character and numbers with absurd exponents, so these are written anew. (Absurdly
# great ones are refused before: they are infinite.)
_TINY_NUMBER: Final = re.compile(rb"[\[:,\s]-?[0-9][0-9.]*[eE]-[0-9]{4}")
_ESCAPED_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a body holds. ``values`` is any JSON value; a form is an object of texts, or lists where names repeat.

    ``form``: the sender speaks in forms. ``is_json_text``: the body can be stored as JSON as it stands. ``pairs`` are a
    form's fields in the order in which they came.
    """

    values: Any
    form: bool
    is_json_text: bool
    pairs: tuple[tuple[str, str], ...] = ()


class Unreadable(ValueError):
    """The bytes are not what they claim to be; the message says where. ``form`` as in :class:`Body`."""

    def __init__(self, message: str, *, form: bool) -> None:
        super().__init__(message)
        self.form = form


def read(body: bytes, content_type: str | None, *, of_crm: bool = False, sizes: Sizes = USUAL_SIZES) -> Body | None:
    """Return the content of a body, or ``None`` where there is none.

    A declared form whose content is JSON (what ``curl -d`` sends) is read as JSON. Without a usable Content-Type the
    first character decides, and of a CRM also against its Content-Type. What is no UTF-8
    of a CRM's is windows-1251. A byte order mark in front is passed over.

    Raises:
        Unreadable: the body cannot be read, or holds more than ``sizes`` allow.
    """
    if not body or body.isspace():
        return None
    bare = body.removeprefix(_BOM)
    if bare.isspace() or not bare:
        bare = body  # a mark and nothing behind it is not nothing
    found = _read(bare, content_type, sizes, of_crm=of_crm)
    # What is stored is the body as it came, with its mark, and that is no JSON to PostgreSQL.
    return found if len(bare) == len(body) else replace(found, is_json_text=False)


def _read(body: bytes, content_type: str | None, sizes: Sizes, *, of_crm: bool) -> Body:
    if content_type is not None and content_type.startswith("application/json"):
        try:
            return _json(body, sizes)
        except Unreadable:
            pass  # read with more patience below
    kind, options = parse_options_header(content_type)
    if kind == _MULTIPART:
        return _multipart(body, options, sizes)
    if kind == _FORM:
        return _json_in_form(body, sizes) or _form(body, options, sizes, of_crm=of_crm)
    may_be_form = of_crm or b"json" not in kind
    if may_be_form and not _looks_like_json(body) and b"=" in body:
        return _form(body, options, sizes, of_crm=of_crm)
    return _json_of_any_charset(body, options, sizes, of_crm=of_crm)


def json_text(value: Any) -> str:
    """Return ``value`` as JSON text that jsonb takes: the NUL character becomes U+FFFD.

    Raises:
        Unreadable: it is nested deeper than 254 levels.
    """
    try:
        written = orjson.dumps(value).decode()
    except orjson.JSONEncodeError as exc:
        raise Unreadable("the JSON is nested too deeply; send at most 250 levels", form=False) from exc
    return _ESCAPED_NUL.sub("\\1\ufffd", written) if "\\u0000" in written else written


def _json_of_any_charset(body: bytes, options: dict[bytes, bytes], sizes: Sizes, *, of_crm: bool) -> Body:
    """Read JSON; what is no UTF-8 is what the Content-Type says, or what CRMs send without saying so."""
    charset = options.get(b"charset", b"").decode("latin-1").lower() or (_UNSAID_CHARSET if of_crm else "utf-8")
    if charset in _CHARSETS:
        with contextlib.suppress(UnicodeDecodeError):
            try:
                body.decode()
            except UnicodeDecodeError:
                return replace(_json(body.decode(charset).encode(), sizes), is_json_text=False)
    return _json(body, sizes)


def _json(body: bytes, sizes: Sizes) -> Body:
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        raise Unreadable(f"the body is not valid JSON ({exc.msg} at {where}); send valid JSON", form=False) from exc
    if deeper_than(sizes.levels, body, values):
        raise Unreadable(f"the JSON is nested too deeply; send at most {sizes.levels} levels", form=False)
    return Body(values=values, form=False, is_json_text=_is_json_for_postgres(body))


def _is_json_for_postgres(body: bytes) -> bool:
    # Plain searches first: a regular expression over each body takes longer than parsing it.
    if b"\\u0000" in body:
        return False
    return not ((b"e-" in body or b"E-" in body) and _TINY_NUMBER.search(body))


def _json_in_form(body: bytes, sizes: Sizes) -> Body | None:
    if not _looks_like_json(body):
        return None
    try:
        return _json(body, sizes)
    except Unreadable:
        return None


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _form(body: bytes, options: dict[bytes, bytes], sizes: Sizes, *, of_crm: bool) -> Body:
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in _CHARSETS:
        raise Unreadable("the form's charset is not supported; send it in UTF-8", form=True)
    # Counted before any charset is tried: one that has to try two would do the work twice.
    if body.count(b"&") >= sizes.fields:
        raise Unreadable(f"the form has more than {sizes.fields} fields; send fewer at once", form=True)
    try:
        return _body_of(_pairs(body, charset))
    except UnicodeDecodeError as exc:
        if of_crm and charset != _UNSAID_CHARSET:
            return _form(body, {b"charset": _UNSAID_CHARSET.encode()}, sizes, of_crm=True)
        raise Unreadable(f"the form cannot be read as {charset}; send it in UTF-8", form=True) from exc


def _pairs(body: bytes, charset: str) -> list[tuple[str, str]]:
    return parse_qsl(body.strip().decode(charset), keep_blank_values=True, encoding=charset, errors="strict")


def _multipart(body: bytes, options: dict[bytes, bytes], sizes: Sizes) -> Body:
    parts = _Parts(sizes.parts)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), parts.callbacks())  # type: ignore[arg-type]  # its TypedDict is private
        parser.write(body)
        parser.finalize()
        if not parts.ended:
            raise Unreadable("the multipart body ends early; send it with its closing boundary", form=True)
        return _body_of(parts.fields())
    except (FormParserError, UnicodeDecodeError) as exc:
        message = "the multipart body cannot be read; send UTF-8 fields and the boundary named in Content-Type"
        raise Unreadable(message, form=True) from exc


def _body_of(pairs: list[tuple[str, str]]) -> Body:
    return Body(values=grouped(pairs), form=True, is_json_text=False, pairs=tuple(pairs))


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return a form's fields by name; a name that repeats has a list."""
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        known = found.get(name)
        if known is None:
            found[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            found[name] = [known, value]
    return found


class _Parts:
    """Collects the parts of a multipart body; files are passed over, because a conversion has none."""

    def __init__(self, limit: int) -> None:
        self.ended = False
        self._limit = limit
        self._begun = 0
        self._found: list[tuple[bytes, bytearray]] = []
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._content = bytearray()

    def callbacks(self) -> dict[str, Any]:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def fields(self) -> list[tuple[str, str]]:
        """The text fields, in order."""
        return [(name.decode(), content.decode()) for name, content in self._found]

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > self._limit:
            message = f"the multipart body has more than {self._limit} parts; send fewer at once"
            raise Unreadable(message, form=True)
        self._disposition, self._content = b"", bytearray()

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition[:_DISPOSITION_BYTES])
        if b"filename" not in options and b"name" in options:
            self._found.append((options[b"name"], self._content))

    def _finish(self) -> None:
        self.ended = True
