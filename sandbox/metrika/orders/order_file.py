"""Reading a file of simple orders (CDP) as Metrika documents it (cdp/uploadsimpleorders, data-import).

The documentation names columns, date formats and what a phone or an e-mail must look like. It does not say what happens
to a file with a bad row; here all of it fails, with `api_validation_status` FAILED.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sandbox.metrika.configuration import Configuration

PEOPLE_COLUMNS = ("client_ids", "emails", "phones", "emails_md5", "phones_md5")
LIST_COLUMNS = (*PEOPLE_COLUMNS, "goals")
COLUMNS = ("id", "create_date_time", "client_uniq_id", *LIST_COLUMNS, "order_status", "revenue", "cost", "currency")
STATUSES = ("PAID", "IN_PROGRESS", "CANCELLED", "SPAM")

_DATES = tuple(f"{day}{time}" for day in ("%d.%m.%Y", "%d.%m.%y", "%Y-%m-%d") for time in ("", " %H:%M", " %H:%M:%S"))
_NUMBER = r"[0-9]+(\.[0-9]+)?"
_PATTERNS = {
    "client_ids": r"[0-9]{1,20}",
    "emails": r"[^@\sA-ZА-ЯЁ]+@[^@\sA-ZА-ЯЁ]+",
    "phones": r"[0-9]{7,15}",
    "emails_md5": r"[0-9a-f]{32}",
    "phones_md5": r"[0-9a-f]{32}",
    "goals": rf'[^/\\&#?=":,]+(:{_NUMBER})?',
    "order_status": r'[^/\\&#?=",]+',
    "revenue": _NUMBER,
    "cost": _NUMBER,
    "currency": r"[A-Z]{3}",
}
_EXPECTED = {
    "client_ids": "decimal digits",
    "emails": "e-mail addresses in lower case",
    "phones": "digits with the country code, like 79995551111",
    "emails_md5": "MD5 in lower-case hex",
    "phones_md5": "MD5 in lower-case hex",
    "goals": "goal identifiers, each with an amount after a colon if it has one",
    "order_status": f"{', '.join(STATUSES)}, or the identifier of a goal",
    "revenue": "a number with a dot before the decimals",
    "cost": "a number with a dot before the decimals",
    "currency": "a three-letter ISO 4217 code",
}

Fields = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as sent, without blank columns. `create_date_time` is an ISO date in the counter's zone."""

    id: str
    fields: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class BadOrders:
    """The file fails: the first line that breaks a rule. The reason never repeats what identifies a person."""

    line: int
    reason: str


def read_orders(lines: Iterable[bytes], *, delimiter: str, configuration: Configuration) -> list[Order] | BadOrders:
    """The orders of a file, or the reason why it fails."""
    reader = csv.reader((line.decode("utf-8-sig") for line in lines), delimiter=delimiter, strict=True)
    orders: list[Order] = []
    try:
        columns = next(reader, [])
        if reason := _columns_problem(columns, configuration):
            return BadOrders(line=1, reason=reason)
        for cells in reader:
            if not cells:
                continue
            found = _order(columns, cells, configuration)
            if isinstance(found, str):
                return BadOrders(line=reader.line_num, reason=found)
            orders.append(found)
    except UnicodeDecodeError:
        return BadOrders(line=reader.line_num + 1, reason="not UTF-8")
    except csv.Error as error:
        return BadOrders(line=reader.line_num, reason=f"not CSV: {error}")
    return orders or BadOrders(line=1, reason="no row follows the column names")


def _columns_problem(columns: list[str], configuration: Configuration) -> str | None:
    for column in columns:
        if column not in COLUMNS:
            return f"unknown column {column[:40]!r}; the columns are {', '.join(COLUMNS)}"
        if columns.count(column) > 1:
            return f"column {column} is named twice"
    required = ["create_date_time"] if configuration.accept_orders_without_id else ["id", "create_date_time"]
    for column in required:
        if column not in columns:
            return f"column {column} is missing"
    return None if set(PEOPLE_COLUMNS) & set(columns) else f"one of {', '.join(PEOPLE_COLUMNS)} is missing"


def _order(columns: list[str], cells: list[str], configuration: Configuration) -> Order | str:
    if len(cells) != len(columns):
        return f"{len(cells)} fields for {len(columns)} columns"
    given = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if cell.strip()}
    fields: Fields = {}
    for column, cell in given.items():
        value: str | list[str] = [part.strip() for part in cell.split(",")] if column in LIST_COLUMNS else cell
        if column in _PATTERNS and not _fits(column, value):
            return f"{column} is not {_EXPECTED[column]}"
        fields[column] = value
    created = _date(given.get("create_date_time", ""))
    if created is None:
        return (
            "create_date_time is not dd.MM.yyyy, dd.MM.yy or yyyy-MM-dd, with HH:mm[:ss] behind it if there is a time"
        )
    if not set(PEOPLE_COLUMNS) & given.keys():
        return f"one of {', '.join(PEOPLE_COLUMNS)} must be given"
    if "id" not in given and not configuration.accept_orders_without_id:
        return "id is empty"
    fields["create_date_time"] = created.isoformat(sep=" ")
    fields.pop("id", None)
    return Order(id=given.get("id", ""), fields=fields)


def _fits(column: str, value: str | list[str]) -> bool:
    parts = value if isinstance(value, list) else [value]
    return all(re.fullmatch(_PATTERNS[column], part) for part in parts)


def _date(text: str) -> datetime | None:
    for form in _DATES:
        try:
            return datetime.strptime(text, form)  # in the counter's time zone, which nobody tells us
        except ValueError:
            continue
    return None
