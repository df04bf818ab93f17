"""Request bodies as objects: JSON, form, multipart, or whatever it looks like when the sender does not say."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from producers.dialects.nesting import grouped
from producers.dialects.pairs import Pairs, pairs_of
from producers.dialects.sizes import USUAL_SIZES, Sizes, deeper_than
from producers.dialects.wrapping import bare, carried, json_candidates, looks_like_json, unwrapped
from schemas.jsonb import is_storable, storable, without_absurd_numbers

_FORM: Final = b"application/x-www-form-urlencoded"
_MULTIPART: Final = b"multipart/form-data"

# What forms come in; other codecs of Python's are slow on purpose-made input (punycode) or no text at all.
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "windows-1251", "cp1251", "koi8-r", "iso-8859-1"})

# A Content-Disposition names a field; splitting one of a megabyte at its quotes takes a second.
_DISPOSITION_BYTES: Final = 4096
# What sites and CRMs of the Windows age send without saying so.
_UNSAID_CHARSET: Final = "windows-1251"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a body holds. ``values`` is any JSON value; a form is an object of texts, or lists where names repeat.

    ``form``: the sender speaks in forms. ``is_json_text``: the body can be stored as JSON as it stands. ``pairs`` are a
    form's fields in the order in which they came. ``wrapped``: the body's bytes do not show the names in ``values`` as
    they are, because the JSON came inside something else.
    """

    values: Any
    form: bool
    is_json_text: bool
    pairs: tuple[tuple[str, str], ...] = ()
    wrapped: bool = False


class Unreadable(ValueError):
    """The bytes are not what they claim to be; the message says where. ``form`` as in :class:`Body`."""

    def __init__(self, message: str, *, form: bool) -> None:
        super().__init__(message)
        self.form = form


def read(body: bytes, content_type: str | None, *, of_crm: bool = False, sizes: Sizes = USUAL_SIZES) -> Body | None:
    """Return the content of a body, or ``None`` where there is none.

    JSON is read as such whatever it is declared as and whatever carries it (``producers.dialects.wrapping``). Without a
    usable Content-Type the first character decides, and of a CRM also against its Content-Type. What is no UTF-8 of a
    CRM's is windows-1251. Byte order marks and padding are passed over.

    Raises:
        Unreadable: the body cannot be read, or holds more than ``sizes`` allow.
    """
    if not body or body.isspace():
        return None
    text = bare(body)
    found = _read(text, content_type, sizes, of_crm=of_crm)
    values = found.values if found.form else unwrapped(found.values)
    if values is found.values and text is body:
        return found
    # What is stored is the body as it came, and that is no JSON to PostgreSQL.
    return replace(found, values=values, is_json_text=False, wrapped=True)


def _read(body: bytes, content_type: str | None, sizes: Sizes, *, of_crm: bool) -> Body:
    if content_type is not None and content_type.startswith("application/json"):
        try:
            return _json(body, sizes)
        except Unreadable:
            pass  # read with more patience below
    kind, options = parse_options_header(content_type)
    if kind == _MULTIPART and not looks_like_json(body):
        return _multipart(body, options, sizes)
    may_be_form = of_crm or b"json" not in kind
    if may_be_form and (found := _json_in_form(body, options, sizes, of_crm=of_crm)):
        return found
    if kind == _FORM or (may_be_form and not looks_like_json(body) and b"=" in body):
        return _form(body, options, sizes, of_crm=of_crm)
    return _json_of_any_charset(body, options, sizes, of_crm=of_crm)


def json_text(value: Any) -> str:
    """Return ``value`` as JSON text that PostgreSQL takes (``schemas.jsonb``).

    Raises:
        Unreadable: it is nested deeper than 254 levels.
    """
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        raise Unreadable("the JSON is nested too deeply; send at most 250 levels", form=False) from exc
    return storable(written).decode()


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
    """Read JSON; a number that PostgreSQL would not hold is read as the text that will be stored of it."""
    if not is_storable(body):
        return replace(_loaded(without_absurd_numbers(body), sizes), is_json_text=False)
    try:
        return _loaded(body, sizes)
    except _Infinite as exc:  # whoever wrote 1e999 somewhere has still sent a conversion
        tamed = without_absurd_numbers(body)
        if tamed == body:
            raise Unreadable(str(exc), form=False) from exc
        return replace(_loaded(tamed, sizes), is_json_text=False)


class _Infinite(Unreadable):
    """A number in it is greater than any program can hold."""


def _loaded(body: bytes, sizes: Sizes) -> Body:
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        kind = _Infinite if "infinity" in exc.msg else Unreadable
        raise kind(f"the body is not valid JSON ({exc.msg} at {where}); send valid JSON", form=False) from exc
    if deeper_than(sizes.levels, body, values):
        raise Unreadable(f"the JSON is nested too deeply; send at most {sizes.levels} levels", form=False)
    return Body(values=values, form=False, is_json_text=True)


def _json_in_form(body: bytes, options: dict[bytes, bytes], sizes: Sizes, *, of_crm: bool) -> Body | None:
    for candidate in json_candidates(body):
        with contextlib.suppress(Unreadable):
            found = _json_of_any_charset(candidate, options, sizes, of_crm=of_crm)
            return found if candidate is body else replace(found, is_json_text=False, wrapped=True)
    return None


def _form(body: bytes, options: dict[bytes, bytes], sizes: Sizes, *, of_crm: bool) -> Body:
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in _CHARSETS:
        raise Unreadable("the form's charset is not supported; send it in UTF-8", form=True)
    # Counted before any charset is tried: one that has to try two would do the work twice.
    if body.count(b"&") >= sizes.fields:
        raise Unreadable(f"the form has more than {sizes.fields} fields; send fewer at once", form=True)
    try:
        return _body_of(pairs_of(body.strip().decode(charset), encoding=charset))
    except UnicodeDecodeError as exc:
        if of_crm and charset != _UNSAID_CHARSET:
            return _form(body, {b"charset": _UNSAID_CHARSET.encode()}, sizes, of_crm=True)
        raise Unreadable(f"the form cannot be read as {charset}; send it in UTF-8", form=True) from exc


def _multipart(body: bytes, options: dict[bytes, bytes], sizes: Sizes) -> Body:
    parts = _Parts(sizes.parts)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), parts.callbacks())  # type: ignore[arg-type]  # its TypedDict is private
        parser.write(body)
        parser.finalize()
        if not parts.ended:
            raise Unreadable("the multipart body ends early; send it with its closing boundary", form=True)
        fields = parts.fields()
    except (FormParserError, UnicodeDecodeError) as exc:
        message = "the multipart body cannot be read; send UTF-8 fields and the boundary named in Content-Type"
        raise Unreadable(message, form=True) from exc
    if not fields:
        raise Unreadable("the multipart body has no field, and no file with JSON; send one", form=True)
    return _body_of(fields, parts.declared)


def _body_of(pairs: Pairs, declared: frozenset[str] = frozenset()) -> Body:
    """Return a form's content; ``declared`` are names of fields that are said to hold JSON."""
    inside = carried(pairs, declared)
    if inside is not None:
        return Body(values=inside, form=False, is_json_text=False, wrapped=True)
    return Body(values=grouped(pairs), form=True, is_json_text=False, pairs=tuple(pairs))


class _Parts:
    """Collects the parts of a multipart body; files are passed over, because a conversion has none, but for JSON.

    ``declared`` are the names of parts that are said to be JSON, or are files of it.
    """

    def __init__(self, limit: int) -> None:
        self.ended = False
        self._limit = limit
        self._begun = 0
        self.declared: frozenset[str] = frozenset()
        self._found: list[tuple[bytes, bytearray, bool]] = []
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
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

    def fields(self) -> Pairs:
        """The fields, in order.

        Raises:
            UnicodeDecodeError: one is not in UTF-8.
        """
        found: Pairs = []
        for name, content, plain in self._found:
            text = (bytes(content) if plain else bare(bytes(content))).decode()
            found.append((name.decode(), text))
            if not plain:
                self.declared |= {name.decode()}
        return found

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > self._limit:
            message = f"the multipart body has more than {self._limit} parts; send fewer at once"
            raise Unreadable(message, form=True)
        self._headers, self._content = {}, bytearray()

    def _header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b"")[:_DISPOSITION_BYTES])
        plain = b"filename" not in options and b"json" not in self._headers.get(b"content-type", b"").lower()
        if (plain and b"name" in options) or (not plain and looks_like_json(bare(bytes(self._content)))):
            self._found.append((options.get(b"name", b""), self._content, plain))

    def _finish(self) -> None:
        self.ended = True
