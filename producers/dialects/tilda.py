"""Tilda's form webhook: one submission, with whatever fields the form has, and the visitor's cookies if wished.

Source: help.tilda.cc, "Webhook: data transfer". Each form is a stage (``formid``) that a rule can give a goal of its
own. Cookies are personal data: of them only Metrika's ClientID and the UTM parameters are kept, everything else is cut
out of the body before anybody sees it (:func:`stored`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import orjson

from producers.dialects.contract import identified, reported
from producers.dialects.lookup import Sheet
from producers.dialects.opening import PROBE, opened, payload_of
from producers.dialects.outcome import Outcome, Parsed, Refused, Reported, Submission, Unidentified
from producers.dialects.places import CLIENT_ID, Usual, collected
from producers.dialects.storing import storable
from producers.fields import BadField

_COOKIES: Final = "cookies"
_KEPT_COOKIES: Final = frozenset({"_ym_uid", "TILDAUTM"})

_USUAL: Final[Usual] = {
    "session_id": ("session_id", "ta_session_id"),
    "ym_uid": ("ym_uid", "ym_client_id", "yandex_client_id", CLIENT_ID, "COOKIES._ym_uid"),
    "yclid": ("yclid",),
    "user_id": ("user_id",),
    "purchase_id": ("purchase_id",),
    "goal_name": ("goal_name",),
    "goal_value": ("goal_value", "payment.amount"),
    "stage": ("stage", "formid"),
    "currency": ("currency", "payment.currency"),
    "order_id": ("order_id", "payment.orderid"),
    "event_id": ("event_id",),
    "occurred_at": ("occurred_at",),
}


def stored(body: bytes, content_type: str | None) -> bytes:
    """Return the body with the cookies that goalpost has a use for, and byte for byte as it is otherwise."""
    return storable(body, content_type, frozenset({_COOKIES}), _kept_cookies)


def parse(submission: Submission) -> Outcome:
    """Return the conversion of a form's submission. Never raises."""
    content = opened(submission)
    if not isinstance(content, dict):
        return content
    if content == PROBE or not (content or submission.query):
        return Parsed(events=())
    content = {name: _taken_apart(name, value) for name, value in content.items()}
    try:
        event = _event(content, submission)
    except BadField as exc:
        return Refused(field=exc.field, message=str(exc), kept=True)
    return Parsed(events=(event,)) if identified(event) else Unidentified(kept=True)


def _event(content: dict[str, Any], submission: Submission) -> Reported:
    sheet = Sheet(content, dict(submission.query))
    number = sheet.find("tranid")
    found = collected(sheet, _USUAL, submission)
    return reported(
        found.values,
        submission,
        passed_over=found.passed_over,
        payload=payload_of(content),
        key=f"tranid:{number.strip()}" if isinstance(number, str) else None,
    )


def _taken_apart(name: str, value: Any) -> Any:
    """Return cookies and a cart as objects; Tilda sends the cart as JSON text or as fields of their own."""
    if not isinstance(value, str):
        return value
    if name.lower() == _COOKIES:
        return {name: unquote(content) for name, content in _cookies(value)}
    if name == "payment":
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _kept_cookies(value: str) -> str:
    return "; ".join(f"{name}={content}" for name, content in _cookies(value) if name in _KEPT_COOKIES)


def _cookies(value: str) -> Iterator[tuple[str, str]]:
    """Yield the name and content of each cookie; what has no ``=`` is none."""
    for pair in value.split(";"):
        name, equals, content = pair.partition("=")
        if equals and name.strip():
            yield name.strip(), content.strip()
