"""goalpost's own contract: the seed's fields and a few more, as JSON object, array of objects, or form.

Parameters of the URL fill in what the body does not give, for senders that let people configure only an address.

A form without a session or visitor is *kept* instead of answered 400. The seed's 400 is for JSON, which programs send
and people debug; forms come from CRMs, for which an unidentified lead (a phone call, say) is daily business, and
amoCRM switches a hook off after 100 answers outside 2xx in two hours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from producers.dialects.bodies import Body, Unreadable, json_text, read
from producers.dialects.outcome import Outcome, Parsed, Refused, Reported, Submission, Unidentified, Unparseable
from producers.fields import BadField, Values, amount, currency, digits, moment, text
from schemas.events import EpochMillis

# Yandex Metrika help, "JavaScript event goal": an identifier with one of these never matches.
_FORBIDDEN_IN_GOAL: Final = re.compile(r'[/\\&#?="]')

# What Tilda sends when an address is connected; others copy it.
_PROBE: Final = {"test": "test"}


def parse(submission: Submission) -> Outcome:
    """Return the conversions of a body in goalpost's own contract, or why there are none. Never raises."""
    try:
        body = read(submission.body, submission.content_type)
    except Unreadable as exc:
        return Unparseable(message=str(exc), kept=exc.form)
    defaults = {name: value for name, value in submission.query if name in FIELDS and value.strip()}
    if body is None:
        if not defaults:
            return Parsed(events=())
        body = Body(values={}, form=True, is_json_text=False)
    if body.values == _PROBE:
        return Parsed(events=())
    try:
        return _conversions(body, defaults, submission.received_at)
    except BadField as exc:
        return Refused(field=exc.field, message=str(exc), kept=body.form)
    except Unreadable as exc:
        return Unparseable(message=str(exc), kept=body.form)


def _conversions(body: Body, defaults: dict[str, str], now: EpochMillis) -> Outcome:
    if isinstance(body.values, list):
        return Parsed(events=tuple(_element(index, item, defaults, now) for index, item in enumerate(body.values)))
    if not isinstance(body.values, dict):
        return Unparseable(message="the body is neither a JSON object nor an array of them; send one", kept=False)
    given = _flat(body.values) if body.form else body.values
    added = _absent(given, defaults)
    payload = None if body.is_json_text and not added else json_text({**body.values, **added})
    reported = _reported({**given, **added} if added else given, payload, now)
    return Parsed(events=(reported,)) if _identified(reported) else Unidentified(kept=body.form)


def _element(index: int, item: Any, defaults: dict[str, str], now: EpochMillis) -> Reported:
    if not isinstance(item, dict):
        raise BadField(f"[{index}]", "is not an object; send an array of objects")
    given = {**item, **_absent(item, defaults)}
    try:
        reported = _reported(given, json_text(given), now)
    except BadField as exc:
        raise exc.within(f"[{index}].") from exc
    if not _identified(reported):
        raise BadField(f"[{index}]", "has neither session_id nor ym_uid; send one of them")
    return reported


def _goal(values: Values, name: str) -> str | None:
    goal = text(values, name)
    if goal is not None and _FORBIDDEN_IN_GOAL.search(goal):
        raise BadField(name, "contains one of / \\ & # ? = \" which Metrika forbids; send the goal's identifier")
    return goal


_READERS: Final[Mapping[str, Callable[[Values, str], Any]]] = {
    "session_id": text,
    "ym_uid": digits,
    "yclid": digits,
    "user_id": text,
    "purchase_id": text,
    "goal_name": _goal,
    "goal_value": amount,
    "stage": text,
    "currency": currency,
    "order_id": text,
    "event_id": text,
}
FIELDS: Final = frozenset({*_READERS, "occurred_at"})


def _reported(values: Values, payload: str | None, now: EpochMillis) -> Reported:
    found = {name: _READERS[name](values, name) for name in values if name in _READERS}
    return Reported(**found, occurred_at=moment(values, "occurred_at", now=now), payload=payload)


def _identified(event: Reported) -> bool:
    return bool(event.session_id or event.ym_uid or event.yclid or event.user_id or event.purchase_id)


def _flat(form: dict[str, Any]) -> dict[str, Any]:
    """Let the last value of a repeated form field count."""
    return {name: value[-1] if isinstance(value, list) else value for name, value in form.items()}


def _absent(given: dict[str, Any], defaults: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in defaults.items() if given.get(name) in (None, "")}
