"""goalpost's own contract: the seed's fields and a few more, as JSON object, array of objects, or form.

Parameters of the URL fill in what the body does not give, for senders that let people configure only an address.

A form without a session or visitor is *kept* instead of answered 400. The seed's 400 is for JSON, which programs send
and people debug; forms come from CRMs, for which an unidentified lead (a phone call, say) is daily business, and
amoCRM switches a hook off after 100 answers outside 2xx in two hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.dialects.bodies import Body, Unreadable, json_text, read
from producers.dialects.contract import fields_read, identified, reported
from producers.dialects.lookup import Sheet
from producers.dialects.nesting import nested
from producers.dialects.opening import PROBE
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
from producers.fields import BadField


def parse(submission: Submission) -> Outcome:
    """Return the conversions of a body in goalpost's own contract, or why there are none. Never raises."""
    try:
        body = read(submission.body, submission.content_type, sizes=submission.sizes)
    except Unreadable as exc:
        return Unparseable(message=str(exc), kept=exc.form)
    named = fields_read(contacts=submission.contacts)
    defaults = {name: value for name, value in submission.query if name in named and value.strip()}
    if body is None:
        if not defaults:
            return Parsed(events=())
        body = Body(values={}, form=True, is_json_text=False)
    if body.values == PROBE:
        return Parsed(events=())
    try:
        return _conversions(body, defaults, submission)
    except BadField as exc:
        return Refused(field=exc.field, message=str(exc), kept=body.form)
    except Unreadable as exc:
        return Unparseable(message=str(exc), kept=body.form)


def _conversions(body: Body, defaults: dict[str, str], submission: Submission) -> Outcome:
    address = Sheet(dict(submission.query)) if submission.fields else Sheet()
    if isinstance(body.values, list):
        if (excess := submission.excess(len(body.values))) is not None:
            return Excessive(message=excess, kept=False)
        elements = enumerate(body.values)
        return Parsed(events=tuple(_element(index, item, defaults, address, submission) for index, item in elements))
    if not isinstance(body.values, dict):
        return Unparseable(message="the body is neither a JSON object nor an array of them; send one", kept=False)
    given = _flat(body.values) if body.form else body.values
    added = _absent(given, defaults)
    payload = None if body.is_json_text and not added else json_text({**body.values, **added})
    values = _placed({**given, **added} if added else given, address, submission, form=body.form)
    event = reported(values, submission, payload=payload)
    return Parsed(events=(event,)) if identified(event) else Unidentified(kept=body.form)


def _element(index: int, item: Any, defaults: dict[str, str], address: Sheet, submission: Submission) -> Reported:
    if not isinstance(item, dict):
        raise BadField(f"[{index}]", "is not an object; send an array of objects")
    given = {**item, **_absent(item, defaults)}
    values, payload = _placed(given, address, submission, form=False), json_text(given)
    try:
        event = reported(values, submission, payload=payload)
    except BadField as exc:
        raise exc.within(f"[{index}].") from exc
    if not identified(event):
        raise BadField(f"[{index}]", "has neither session_id nor ym_uid; send one of them")
    return event


def _placed(given: dict[str, Any], address: Sheet, submission: Submission, *, form: bool) -> Mapping[str, Any]:
    """Put under goalpost's names what this webhook's sender keeps under its own."""
    if not submission.fields:
        return given
    sheet = Sheet(given, nested(given) if form else {}, address)
    return {**given, **{name: sheet.find(path) for name, path in submission.fields.items()}}


def _flat(form: dict[str, Any]) -> dict[str, Any]:
    """Let the last value of a repeated form field count."""
    return {name: value[-1] if isinstance(value, list) else value for name, value in form.items()}


def _absent(given: dict[str, Any], defaults: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in defaults.items() if given.get(name) in (None, "")}
