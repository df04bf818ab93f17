"""The body of a CRM as one object, whatever the CRM has put it into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from producers.dialects.bodies import Unreadable, json_text, read
from producers.dialects.nesting import grouped, nested
from producers.dialects.outcome import Submission, Unparseable

# What Tilda sends when an address is connected; others copy it.
PROBE: Final = {"test": "test"}


Pairs = Sequence[tuple[str, str]]


def opened(submission: Submission, *, rename: Callable[[Pairs], Pairs] | None = None) -> dict[str, Any] | Unparseable:
    """Return the body's object, with form names taken apart at their brackets; empty where there is no body.

    ``rename`` may give fields of a form other names before that.
    """
    try:
        body = read(submission.body, submission.content_type, of_crm=True, sizes=submission.sizes)
    except Unreadable as exc:
        return Unparseable(message=str(exc), kept=True)
    values: Any = {} if body is None else body.values
    if not isinstance(values, dict):
        return Unparseable(message="the body is no object; send a form or a JSON object", kept=True)
    if body is None or not body.form:
        return values
    return nested(values if rename is None else grouped(rename(body.pairs)))


def payload_of(content: dict[str, Any]) -> str:
    """Return a conversion's JSON; one that cannot be stored as JSON says so, and its body is kept anyway."""
    try:
        return json_text(content)
    except Unreadable as exc:
        return json_text({"problem": str(exc)})
