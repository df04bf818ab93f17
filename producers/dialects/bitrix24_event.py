"""Bitrix24's outgoing webhook: it tells only that a deal was added or changed, and which; the fetcher reads the deal.

Source: Bitrix24 REST documentation, "Events". There are no retries, so what comes is only noted down, at once. Notes of
anything but added and changed deals are ignored, and what is none of Bitrix24's notes is kept. A deal that is saved
often is noted often; whether it has reached another stage is known when it is fetched.
"""

from __future__ import annotations

import re
from typing import Final

from producers.dialects.lookup import Sheet
from producers.dialects.opening import PROBE, opened, payload_of
from producers.dialects.outcome import Doubt, Ignored, Outcome, Parsed, Refused, Reported, Submission, Unparseable
from producers.fields import BadField, text
from producers.times import FromFuture, moment

_DEAL: Final = "ONCRMDEAL"
_OF_DEALS: Final = frozenset({"ONCRMDEALADD", "ONCRMDEALUPDATE"})
# What else Bitrix24 tells of deals and changes none; of other entities there is no end.
_NO_CHANGE: Final = re.compile(r"ONCRMDEAL(?:DELETE|USERFIELD[A-Z]{1,20}|RECURRING[A-Z]{1,20})")
_EVENT: Final = re.compile(r"ON[A-Z0-9_]{2,100}")


def parse(submission: Submission) -> Outcome:
    """Return the note of a changed deal: its number as ``order_id``, its whole content as ``payload``. Never raises."""
    content = opened(submission)
    if not isinstance(content, dict):
        return content
    if content == PROBE or not content:
        return Parsed(events=())
    sheet = Sheet(content)
    name = sheet.find("event")
    if not isinstance(name, str):
        return Unparseable(message="the body names no event; send Bitrix24's outgoing webhook here", kept=True)
    event = name.strip().upper()
    if event not in _OF_DEALS:
        if _NO_CHANGE.fullmatch(event):
            return Parsed(events=(), ignored=(Ignored.OTHER_EVENT,))
        if _EVENT.fullmatch(event) and not event.startswith(_DEAL):
            return Parsed(events=(), ignored=(Ignored.OTHER_ENTITY,))
        return Unparseable(message="the body names no event that is known; send Bitrix24's outgoing webhook", kept=True)
    try:
        return Parsed(events=(_note(event, sheet, submission, payload=payload_of(content)),))
    except BadField as exc:
        return Refused(field=exc.field, message=str(exc), kept=True)


def _note(event: str, sheet: Sheet, submission: Submission, *, payload: str) -> Reported:
    values = {"data[FIELDS][ID]": sheet.find("data[FIELDS][ID]"), "ts": sheet.find("ts")}
    number = text(values, "data[FIELDS][ID]")
    if number is None or not (number.isascii() and number.isdigit()):
        raise BadField("data[FIELDS][ID]", "is no number of a deal; send Bitrix24's own event")
    # Without a time all notes of the deal share one id; what is new in it shows when it is fetched.
    sent = text(values, "ts")
    key = None if sent is None else f"event:{event}:{number}:{sent}"
    try:
        sent_at = moment(values, "ts", now=submission.received_at, zone=submission.zone)
    except FromFuture:  # nothing rests on it: when the deal moved, the deal itself says
        return Reported(order_id=number, payload=payload, key=key, doubts=(Doubt.TIME_IN_FUTURE,))
    return Reported(order_id=number, occurred_at=sent_at, payload=payload, key=key)
