"""Requests that are made to cost as much as their size can: what each field may be filled with, for each dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

from producers.dialects.contract import FIELDS

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data; boundary=x"
VISITOR: Final = "1700000000000000001"
KIB: Final = 1024
# Of the smallest body that is measured, its multiples are 64 and 256 KiB.
SIZE: Final = 16 * KIB

FILLINGS: Final = {
    "spaces": " ",
    "no-break spaces": "\u00a0",
    "digits": "9",
    "zeros": "0",
    "percents": "%",
    "equals": "=",
    "semicolons": ";",
    "double quotes": '"',
    "single quotes": "'",
    "opening brackets": "[",
    "closing brackets": "]",
    "braces": "{",
    "newlines": "\n",
    "line ends": "\r\n",
    "Cyrillic": "Ж",
    "letters": "a",
    "backslashes": "\\",
    "commas": ",",
    "points": ".",
    "signs": "-",
    "at signs": "@",
    "zero-width spaces": "\u200b",
    "pairs": "a=;",
    "grouped digits": "1 ",
    "bars": "|",
    "entities": "&#",
}
# What may have to stand around it for a pattern to begin, and to fail at the end.
SURROUNDINGS: Final = (("", "x"), ("2026-03-01", "x"), ("1", "\x00"))
# Forms are read like JSON but for what means something in them.
_IN_FORMS: Final = ("spaces", "percents", "equals", "semicolons", "opening brackets", "newlines", "Cyrillic")

_OWN_FIELDS: Final = {
    "generic": (),
    "zapier": (),
    "make": (),
    "tilda": ("COOKIES", "formid", "tranid", "payment", "payment[amount]", "ClientID"),
    "bitrix24": ("OPPORTUNITY", "CURRENCY_ID", "STAGE_ID", "document_id[2]", "UF_CRM_YMCLIENTID", "auth[access_token]"),
    "bitrix24_event": ("event", "data[FIELDS][ID]", "ts", "auth[application_token]"),
    "amocrm": (
        *(f"leads[status][0][{name}]" for name in ("price", "id", "pipeline_id", "updated_at", "old_status_id")),
        "leads[status][0][custom_fields][0][values][0][value]",
        "account[subdomain]",
    ),
}
_AROUND: Final[dict[str, dict[str, str]]] = {
    "bitrix24_event": {"event": "ONCRMDEALUPDATE", "data[FIELDS][ID]": "5"},
    "amocrm": {"leads[status][0][id]": "5", "leads[status][0][status_id]": "142"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """A body of any size up to ``largest``. ``make`` gives it, about as large as it is told."""

    name: str
    content_type: str
    make: Callable[[int], bytes]
    largest: int = 16 * SIZE


def every_field(dialect: str) -> Iterator[Heavy]:
    """Yield each field of a dialect, with each filling."""
    for field in (*sorted(FIELDS), *_OWN_FIELDS[dialect]):
        for filling, unit in FILLINGS.items():
            for before, after in SURROUNDINGS:
                name = f"{field} of {filling} between {before!r} and {after!r}"
                make = _filled(dialect, field, (before, unit, after), _json)
                largest = 16 * SIZE if (before, after) == SURROUNDINGS[0] else 4 * SIZE
                yield Heavy(name=name, content_type=JSON, make=make, largest=largest)
            if filling in _IN_FORMS:
                make = _filled(dialect, field, ("", unit, ""), _form)
                yield Heavy(name=f"{field} of {filling} in a form", content_type=FORM, make=make, largest=4 * SIZE)


def every_shape() -> Iterator[Heavy]:
    """Yield bodies that have much of one thing: fields, parts, levels, leads, elements, and bytes between them."""
    for unit in (
        b"a=&",
        b"&",
        b"%",
        b"=",
        b"a[b][c]=1&",
        b"a[]=1&",
        b"a[[[]]]",
        b"auth[access_token]=1&",
        b"COOKIES=a;b=1;&",
    ):
        yield Heavy(name=f"fields of {unit!r}", content_type=FORM, make=_repeated(b"", unit, b""))
    yield from _parts()
    for unit in (b"[", b"{", b'{"a":', b"[],", b"{},", b'"', b"1,", b" ", b"9", b"-", b"\\"):
        yield Heavy(name=f"JSON of {unit!r}", content_type=JSON, make=_repeated(b"[", unit, b"1]"))
        make = _repeated(b'{"ym_uid":"5","a":[', unit, b"1]}")
        yield Heavy(name=f"a JSON field of {unit!r}", content_type=JSON, make=make)
    for name, content_type, write, bytes_each in _LISTS:
        yield Heavy(name=name, content_type=content_type, make=_counted(write, bytes_each))


def _parts() -> Iterator[Heavy]:
    nonsense = (
        b"name= ",
        b"name=event_token\r\n",
        b'name="[',
        b"\r\n",
        b"\r\n--x",
        b"--x\r\n\r\n",
        b"\r\n--x\r\n",
        b"access_token",
    )
    for unit in nonsense:
        yield Heavy(name=f"multipart of {unit!r}", content_type=MULTIPART, make=_repeated(b"", unit, b""))
    part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b'
    end = b"\r\n--x--\r\n"
    for name in (b"a", b"auth[access_token]", b"COOKIES", b"[" * 50):
        one = part % (name, b"1")
        yield Heavy(name=f"parts of {name!r}", content_type=MULTIPART, make=_repeated(b"", one + b"\r\n", b"--x--\r\n"))
        yield Heavy(
            name=f"a long part of {name!r}", content_type=MULTIPART, make=_repeated(part % (name, b""), b"1", end)
        )
    lines = _repeated(b"--x\r\n", b"a: b\r\n", b"\r\n1" + end)
    yield Heavy(name="lines in the head of a part", content_type=MULTIPART, make=lines)
    header = _repeated(b'--x\r\nContent-Disposition: form-data; name="', b'a";"', b'"\r\n\r\n1' + end)
    yield Heavy(name="a long line in the head of a part", content_type=MULTIPART, make=header)


def _leads(count: int) -> bytes:
    place = "leads[status][{0}]"
    return "&".join(f"{place}[id]={{0}}&{place}[status_id]=142".format(number) for number in range(count)).encode()


def _leads_without_index(count: int) -> bytes:
    return "&".join(f"leads[status][][id]={number}" for number in range(count)).encode()


def _leads_beside_fields(count: int) -> bytes:
    fields = {f"field{number}": 1 for number in range(count)}
    leads = [{"id": number, "status_id": 142} for number in range(count)]
    return _written({"leads": {"update": leads}, "account": {"id": 1, **fields}, **fields})


def _custom_fields(count: int) -> bytes:
    fields = [{"id": number, "values": [{"value": "1"}]} for number in range(count)]
    return _written({"leads": {"status": [{"id": 1, "status_id": 142, "custom_fields": fields}]}})


def _fields(count: int) -> bytes:
    return _written({"ym_uid": VISITOR, **{f"field{number}": "" for number in range(count)}})


def _conversions(count: int) -> bytes:
    return _written([{"ym_uid": VISITOR}] * count)


def _written(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


# Name, Content-Type, how so many of them are written, and about how many bytes each has.
_LISTS: Final = (
    ("leads", FORM, _leads, 60),
    ("leads without an index", FORM, _leads_without_index, 25),
    ("leads beside fields", JSON, _leads_beside_fields, 70),
    ("custom fields", JSON, _custom_fields, 45),
    ("fields", JSON, _fields, 15),
    ("conversions", JSON, _conversions, 35),
)


def _repeated(before: bytes, unit: bytes, after: bytes) -> Callable[[int], bytes]:
    return lambda size: before + unit * (size // len(unit)) + after


def _counted(write: Callable[[int], bytes], bytes_each: int) -> Callable[[int], bytes]:
    return lambda size: write(size // bytes_each)


def _filled(
    dialect: str, field: str, parts: tuple[str, str, str], write: Callable[[dict[str, str]], bytes]
) -> Callable[[int], bytes]:
    before, unit, after = parts

    def make(size: int) -> bytes:
        value = before + unit * (size // len(unit.encode())) + after
        return write({"ym_uid": VISITOR, **_AROUND.get(dialect, {}), field: value})

    return make


def _form(fields: dict[str, str]) -> bytes:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields.items()).encode()


def _json(fields: dict[str, str]) -> bytes:
    root: dict[str, Any] = {}
    for name, value in fields.items():
        *outer, last = name.replace("]", "").split("[")
        at = root
        for part in outer:
            at = at.setdefault(part, {})
        at[last] = value
    return _written(root)
