"""What a person may see of a record without asking twice: pure.

An allow-list, because a CRM's next field is always one that nobody thought of: names and structure are shown, values
only where they cannot be personal data or a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from schemas.dead_letter import redacted
from schemas.identity import EVENT_PREFIX

_FIELDS: Final = frozenset(
    {
        *("event_id", "webhook_id", "counter_id", "metrika_counter_id", "dialect", "source", "content_type"),
        *("received_at", "occurred_at", "resolved_at", "session_at", "last_visit_at", "deadline_at", "at"),
        *("goal_name", "goal_value", "goal_rule", "target", "price", "currency", "stage", "order_id", "attempts"),
        *("session_missing", "creates_row", "row_id", "raw_partition", "raw_offset", "outcome", "error_class"),
        *("default_goal", "default_currency", "goal", "value", "changed_at", "rules_changed_at"),
    }
)
# Written by us for people, but about what a CRM sent.
_SENTENCES: Final = frozenset({"notes"})
# In a CRM's own JSON "value" or "source" may hold a telephone number, so only the seed's contract is known there.
_FIELDS_OF_BODIES: Final = frozenset({"goal_name", "goal_value", "currency", "order_id", "occurred_at", "event_id"})
_BODIES: Final = frozenset({"payload", "analytics_data", "body"})
_HEADERS: Final = frozenset({"event_id", "webhook_id", "content-type", "received_at"})
_HEADER_PREFIXES: Final = ("dlq.", "__connect.", "kafka_dlt-", "waiting.")
# What a person can read is shallower by far; Python itself ends at some hundreds.
_LEVELS: Final = 64
# A text of more levels is shown as a text.
_MOST_LEVELS: Final = 100
# What goalpost itself numbers: times in epoch milliseconds, places, counts, Metrika's uploads. As text they look like
# telephone numbers; under these names they are none.
TIME_HEADERS: Final = frozenset(
    {"received_at", "dlq.original.timestamp", "waiting.since", "waiting.due", "waiting.raw.timestamp"}
)
_NUMBER_HEADERS: Final = TIME_HEADERS | {
    *("dlq.original.partition", "dlq.original.offset", "dlq.attempts", "dlq.replay.count", "dlq.metrika.upload.id"),
    *("__connect.errors.partition", "__connect.errors.offset", "waiting.attempt", "waiting.released", "waiting.over"),
    *("waiting.raw.partition", "waiting.raw.offset"),
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")
_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def masked(values: Any, *, name: str = "", shown: frozenset[str] = _FIELDS, levels: int = _LEVELS) -> Any:
    """Return ``values`` with the same structure, and what may be personal replaced by its kind and length.

    What is nested deeper than ``levels`` is only named.
    """
    if isinstance(values, (Mapping, list, tuple)) and not levels:
        return f"({type(values).__name__})"
    if isinstance(values, Mapping):
        return {key: masked(value, name=str(key), shown=shown, levels=levels - 1) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [masked(value, name=name, shown=shown, levels=levels - 1) for value in values]
    if name in _SENTENCES and shown is _FIELDS and isinstance(values, str):
        return redacted(values)
    if values is None or isinstance(values, bool) or name in shown:
        return plain(values)
    nested = as_json(values) if name in _BODIES else None
    return masked_body(nested) if nested is not None else _described(values)


def masked_body(content: dict[str, Any] | list[Any]) -> Any:
    """Return the JSON that a CRM or a site sent, with little more than its structure."""
    return masked(content, shown=_FIELDS_OF_BODIES)


def masked_header(name: str, value: bytes | None) -> str:
    """Return a header's value as text, hidden unless its name says that it is harmless."""
    if value is None:
        return "(no value)"
    text = value.decode("utf-8", "replace")
    if name in _NUMBER_HEADERS and _NUMBER.fullmatch(text):
        return text
    if name in _HEADERS or name.startswith(_HEADER_PREFIXES):
        return redacted(text)  # a sender or another tool may write there what ours would not
    return str(_described(value))


def masked_key(key: bytes | None) -> str:
    """Return a record's key with its kind (``s:``, ``u:``, ``e:``), and what follows only if it is our id of an event.

    Without a kind it is a webhook's id; a foreign producer's key may be anything, and is hidden.
    """
    if key is None:
        return ""
    text = key.decode("utf-8", "replace")
    kind, name = (text[:2], text[2:]) if text[1:2] == ":" else ("", text)
    ours = kind in ("", EVENT_PREFIX) and _UUID.fullmatch(name)
    return text if ours else f"{kind}{_described(name)}"


def plain(values: Any) -> Any:
    """Return decoded values in the types of JSON: bytes as text or as JSON, decimals as text."""
    if isinstance(values, Mapping):
        return {key: plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    if isinstance(values, bytes):
        return as_json(values) or values.decode("utf-8", "replace")
    return str(values) if isinstance(values, Decimal) else values


def as_json(text: str | bytes) -> dict[str, Any] | list[Any] | None:
    """Return the JSON object or array that ``text`` is, else ``None``; also where it is nested beyond all use."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) and _levels(found) <= _MOST_LEVELS else None


def _levels(content: dict[str, Any] | list[Any]) -> int:
    """How deep something is nested; counted level by level, as deep as the limit."""
    level: list[Any] = [content]
    for depth in range(_MOST_LEVELS + 1):
        inside = (part.values() if isinstance(part, dict) else part for part in level)
        level = [one for part in inside for one in part if isinstance(one, (dict, list))]
        if not level:
            return depth + 1
    return _MOST_LEVELS + 1


def _described(value: object) -> str:
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    return f"({len(value)} characters)" if isinstance(value, str) else f"({type(value).__name__})"
