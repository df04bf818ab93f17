"""Single fields of an answer of Metrika, read as tolerantly as is safe: numbers as text, fields that are missing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

_LONGEST_NUMBER: Final = 18  # digits; counts are int64
_LONGEST_ID: Final = 64
_LONGEST_WAIT_SECONDS: Final = 86_400.0
_SECONDS: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)


def content_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is; empty where it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def identifier(value: Any) -> str | None:
    """Return an id that Metrika gives; it is only ever compared, so that its form is Metrika's affair."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if value > 0 else ""
    if value == "0":  # the documentation's placeholder
        return None
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable() else None


def whole(value: Any) -> int | None:
    """Return a count; ``None`` for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and len(str(abs(value))) <= _LONGEST_NUMBER else None


def word(value: Any) -> str:
    """Return a word that Metrika documents in capitals, such as a status; empty where there is none."""
    return printable(value).strip().upper() if isinstance(value, str) else ""


def printable(text: str) -> str:
    """Return ``text`` with spaces for what Postgres or a log cannot hold: NUL, halves of surrogate pairs, controls."""
    return "".join(character if character.isprintable() else " " for character in text)


def moment(value: Any) -> datetime | None:
    """Return a time in ISO 8601; without a zone it is UTC, as all times of Metrika."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def wait_seconds(retry_after: str | None, date: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or a time by the clock of the server (its Date header), else by ours."""
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_WAIT_SECONDS)
    until = _http_date(text)
    if until is None:
        return None
    seconds = (until - (_http_date(date or "") or now)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
