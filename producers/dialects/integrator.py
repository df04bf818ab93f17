"""What Zapier and Make have in common: bodies that a person has put together out of goalpost's own fields.

They take an answer outside 2xx for a failed run and switch off what fails often, so what cannot be used is kept, not
refused. Names may be spelt in any way, values may all be text, and empty ones are the same as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from producers.dialects.bodies import Unreadable, read
from producers.dialects.contract import FIELDS, identified, reported
from producers.dialects.lookup import Sheet
from producers.dialects.nesting import nested
from producers.dialects.opening import PROBE, payload_of
from producers.dialects.outcome import (
    Excessive,
    Outcome,
    Parsed,
    Refused,
    Reported,
    Submission,
    Unidentified,
    Unparseable,
)
from producers.dialects.places import Usual, collected
from producers.fields import BadField

# The parameters of the address, and the same to look fields up in.
_Address = tuple[dict[str, str], Sheet]

_USUAL: Final[Usual] = {**{name: (name,) for name in FIELDS}, "ym_uid": ("ym_uid", "ym_client_id")}


def parse(submission: Submission) -> Outcome:
    """Return the conversions of an object or an array of them. Never raises."""
    try:
        body = read(submission.body, submission.content_type, of_crm=True, sizes=submission.sizes)
    except Unreadable as exc:
        return Unparseable(message=str(exc), kept=True)
    values: Any = {} if body is None else body.values
    if body is not None and body.form:
        values = nested(values)
    if values == PROBE or not (values or submission.query):
        return Parsed(events=())
    listed = values if isinstance(values, list) else [values]
    if (excess := submission.excess(len(listed))) is not None:
        return Excessive(message=excess, kept=True)
    query = dict(submission.query)
    address = query, Sheet(query)
    found = [
        _outcome(one, f"[{index}]." if listed is values else "", address, submission)
        for index, one in enumerate(listed)
    ]
    several = len(listed) > 1
    return Parsed(
        places=tuple(index for index, one in enumerate(found) if several and isinstance(one, Reported)),
        events=tuple(one for one in found if isinstance(one, Reported)),
        left_over=next((one for one in found if not isinstance(one, Reported)), None),
    )


def _outcome(
    content: Any, place: str, address: _Address, submission: Submission
) -> Reported | Refused | Unidentified | Unparseable:
    if not isinstance(content, dict):
        return Unparseable(message="the body is neither an object nor an array of objects; send one", kept=True)
    try:
        event = _event(content, address, submission)
    except BadField as exc:
        located = exc.within(place)
        return Refused(field=located.field, message=str(located), kept=True)
    return event if identified(event) else Unidentified(kept=True)


def _event(content: Mapping[str, Any], address: _Address, submission: Submission) -> Reported:
    query, sheet = address
    found = collected(Sheet(content, sheet), _USUAL, submission)
    payload = payload_of({**query, **content})
    return reported(found.values, submission, payload=payload, passed_over=found.passed_over)
