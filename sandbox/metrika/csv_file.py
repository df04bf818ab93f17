"""Reading an offline-conversions CSV file as strictly as Metrika documents it, one row at a time, in constant memory.

Rules: Metrika's documentation, "Offline conversions" (management/offline-conv): UTF-8, first line = column names in the
API's spelling, `Target` and `DateTime` required, at least one identifier, `DateTime` in the past, `Price` with a dot.
"""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from sandbox.metrika.configuration import Configuration

IDENTIFIER_COLUMNS = ("ClientId", "UserId", "Yclid", "PurchaseId")
REQUIRED_COLUMNS = ("Target", "DateTime")
COLUMNS = (*IDENTIFIER_COLUMNS, *REQUIRED_COLUMNS, "Price", "Currency")

# What a cell must look like. ClientId and Yclid are UInt64 in Metrika's Logs API.
_PATTERNS = {
    "ClientId": r"[0-9]{1,20}",
    "UserId": r"[^\0]+",
    "Yclid": r"[0-9]{1,20}",
    "PurchaseId": r"[^\0]+",
    "Target": r'[^/\\&#?="\0]+',
    "DateTime": r"[0-9]{1,18}",
    "Price": r"[0-9]+(?:\.[0-9]+)?",
    "Currency": r"[A-Z]{3}",
}
_EXPECTED = {
    "ClientId": "decimal digits, at most 2^64-1",
    "UserId": "text",
    "Yclid": "decimal digits, at most 2^64-1",
    "PurchaseId": "text",
    "Target": 'a goal identifier without / \\ & # ? = "',
    "DateTime": "whole epoch seconds",
    "Price": "a number with a dot before the decimals",
    "Currency": "a three-letter ISO 4217 code",
}
_LARGEST_NUMERIC_IDENTIFIER = str(2**64 - 1)
_ANY_SPELLING = {column.lower(): column for column in COLUMNS}


class Row(NamedTuple):
    """One valid conversion. A tuple rather than a dataclass: a million of them go straight into SQLite."""

    line: int
    client_id: str | None
    user_id: str | None
    yclid: str | None
    purchase_id: str | None
    target: str
    moment: int
    price: str | None
    currency: str | None

    @property
    def identifier(self) -> tuple[str, str]:
        """Column and value that link the conversion: the first one given (the true precedence is undocumented)."""
        if self.client_id:
            return "ClientId", self.client_id
        if self.user_id:
            return "UserId", self.user_id
        return ("Yclid", self.yclid) if self.yclid else ("PurchaseId", self.purchase_id or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that breaks a rule. The reason never repeats an identifier: those are personal data."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFile:
    """The file can't be read from this line on: wrong encoding, wrong column names, broken quoting, no row."""

    line: int
    reason: str


def read_rows(lines: Iterable[bytes], *, now: float, configuration: Configuration) -> Iterator[Row | BadRow | BadFile]:
    """Yield each row of the file, good or bad; after a `BadFile` nothing follows. `now` is in epoch seconds."""
    reader = csv.reader(_decoded(lines, configuration.accept_byte_order_mark), strict=True)
    try:
        columns = next(reader, [])
        if configuration.header_spelling == "lenient":
            columns = [_ANY_SPELLING.get(column.strip().lower(), column) for column in columns]
        if reason := _columns_problem(columns):
            yield BadFile(line=1, reason=reason)
            return
        match, empty = _row_pattern(columns, configuration).fullmatch, True
        for fields in reader:
            if fields:
                empty = False
                found = match("\0".join(fields)) if len(fields) == len(columns) else None
                if found is None:
                    yield BadRow(line=reader.line_num, reason=_shape_problem(columns, fields, configuration))
                else:
                    yield _checked(reader.line_num, found, now, configuration)
        if empty:
            yield BadFile(line=1, reason="no row follows the column names")
    except UnicodeDecodeError:
        yield BadFile(line=reader.line_num + 1, reason="not UTF-8")
    except csv.Error as error:
        yield BadFile(line=reader.line_num, reason=f"not CSV: {error}")


def _decoded(lines: Iterable[bytes], accept_byte_order_mark: bool) -> Iterator[str]:
    # Line by line, so that a wrong byte is found at its own line and not at the start of a buffer.
    lines = iter(lines)
    first = next(lines, b"")
    if accept_byte_order_mark:
        first = first.removeprefix(codecs.BOM_UTF8)
    return (line.decode() for line in chain([first], lines))


def _columns_problem(columns: list[str]) -> str | None:
    if not columns:
        return "the first line must name the columns"
    for column in columns:
        if column not in COLUMNS:
            return f"unknown column {column[:40]!r}; the columns are {', '.join(COLUMNS)}, spelled exactly so"
        if columns.count(column) > 1:
            return f"column {column} is named twice"
    for column in REQUIRED_COLUMNS:
        if column not in columns:
            return f"column {column} is missing"
    if not set(IDENTIFIER_COLUMNS) & set(columns):
        return f"an identifier column is missing: one of {', '.join(IDENTIFIER_COLUMNS)}"
    return None


def _pattern(column: str, configuration: Configuration) -> str:
    sign = "-?" if column == "Price" and configuration.accept_negative_price else ""
    return sign + _PATTERNS[column]


def _row_pattern(columns: list[str], configuration: Configuration) -> re.Pattern[str]:
    """One pattern for the cells of a row joined with NUL: half the time of a check per cell.

    A blank optional cell leaves its group out, and so do the columns that the file doesn't have.
    """
    cells = (
        f"(?P<{column}>{_pattern(column, configuration)})" + ("" if column in REQUIRED_COLUMNS else "|")
        for column in columns
    )
    absent = (f"(?P<{column}>(?!))?" for column in COLUMNS if column not in columns)
    return re.compile("\0".join(f"(?:{cell})" for cell in cells) + "".join(absent))


def _shape_problem(columns: list[str], fields: list[str], configuration: Configuration) -> str:
    if len(fields) != len(columns):
        return f"{len(fields)} fields for {len(columns)} columns"
    for column, value in zip(columns, fields, strict=True):
        if not value and column in REQUIRED_COLUMNS:
            return f"{column} is empty"
        if value and not re.fullmatch(_pattern(column, configuration), value):
            return f"{column} is not {_EXPECTED[column]}"
    return "a NUL character"


def _checked(line: int, found: re.Match[str], now: float, configuration: Configuration) -> Row | BadRow:
    client_id, user_id, yclid, purchase_id, target, moment, price, currency = found.group(*COLUMNS)
    if currency and currency not in configuration.supported_currencies:
        price = currency = None  # "null values are sent instead of currencies and amounts" (support page)
    row = Row(line, client_id, user_id, yclid, purchase_id, target, int(moment), price, currency)
    if not (client_id or user_id or yclid or purchase_id):
        return BadRow(line=line, reason="no identifier is given")
    for column, value in (("ClientId", client_id), ("Yclid", yclid)):
        # Of two numbers of twenty digits, the text that sorts later is the larger one.
        if value and len(value) == 20 and value > _LARGEST_NUMERIC_IDENTIFIER:
            return BadRow(line=line, reason=f"{column} is not {_EXPECTED[column]}")
    if row.moment > now:
        return BadRow(line=line, reason="DateTime is in the future (epoch seconds, not milliseconds?)")
    if target in configuration.rejected_targets:
        return BadRow(line=line, reason=f"Target {target} is among this simulator's rejected_targets")
    return row
