"""Bitrix24's robot (or business process) action "Webhook": a POST to an address with the deal's fields in its query.

The body only names the document (``document_id[2]=DEAL_54``) and the portal; what the goal needs is put into the
address by templates, for example ``?ym_uid={=Document:UF_CRM_YMCLIENTID}&stage={=Document:STAGE_ID}``. The robot is
placed at a stage on purpose, so each call is a conversion, unless the webhook has rules and none is for the stage.

A robot fires again when a deal returns to its stage; the deal with its goal or stage is one event, however often.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from producers.dialects.contract import identified, reported
from producers.dialects.lookup import Sheet
from producers.dialects.opening import PROBE, opened, payload_of
from producers.dialects.outcome import Ignored, Outcome, Parsed, Refused, Reported, Submission, Unidentified
from producers.dialects.places import CLIENT_ID, Usual, collected
from producers.dialects.stages import ruled
from producers.fields import BadField

_DOCUMENT: Final = re.compile(r"([A-Z][A-Z0-9_]{0,40})_([0-9]{1,19})")

# goalpost's names, then those of crm.deal.get and what portals call their own fields for Metrika's ClientID.
USUAL: Final[Usual] = {
    "session_id": ("session_id", "UF_CRM_SESSION_ID", "UF_CRM_TA_SESSION_ID"),
    "ym_uid": ("ym_uid", "_ym_uid", "UF_CRM_YMCLIENTID", "UF_CRM_YM_UID", "UF_CRM_YM", "YMCLIENTID", CLIENT_ID),
    "yclid": ("yclid", "UF_CRM_YCLID"),
    "user_id": ("user_id",),
    "purchase_id": ("purchase_id",),
    "goal_name": ("goal_name",),
    "goal_value": ("goal_value", "OPPORTUNITY", "amount"),
    "stage": ("stage", "STAGE_ID", "STATUS_ID"),
    "currency": ("currency", "CURRENCY_ID"),
    "order_id": ("order_id", "deal_id", "lead_id"),
    "event_id": ("event_id",),
    "occurred_at": ("occurred_at", "MOVED_TIME"),
}


def parse(submission: Submission) -> Outcome:
    """Return the conversion of a robot's call. Never raises."""
    content = opened(submission)
    if not isinstance(content, dict):
        return content
    query = dict(submission.query)
    if content == PROBE or not (content or query):
        return Parsed(events=())
    sheet = Sheet(query, content)
    try:
        event = _event(sheet, submission, payload=payload_of({**content, **query}))
    except BadField as exc:
        return Refused(field=exc.field, message=str(exc), kept=True)
    if not _counts(event, submission):
        return Parsed(events=(), ignored=(Ignored.OTHER_STAGE,))
    return Parsed(events=(event,)) if identified(event) else Unidentified(kept=True)


def _counts(event: Reported, submission: Submission) -> bool:
    """Whether the stage, if the address tells one, is worth a goal by the webhook's rules, if it has any."""
    if event.goal_name or not event.stage or not submission.rules:
        return True
    return ruled((event.stage,), submission.rules, otherwise=event.stage) is not None


def _event(sheet: Sheet, submission: Submission, *, payload: str) -> Reported:
    found = collected(sheet, USUAL, submission)
    values = found.values
    document = _document(sheet, values)
    if values["order_id"] is None and document is not None:
        values["order_id"] = document.removeprefix("DEAL_")
    event = reported(values, submission, payload=payload, passed_over=found.passed_over)
    if document is None:
        return event
    return replace(event, key=f"document:{document}:{event.goal_name or event.stage or ''}")


def _document(sheet: Sheet, values: dict[str, Any]) -> str | None:
    """Return what the call is about, such as ``DEAL_54``: named by the body, else by a number in the address."""
    found = sheet.find("document_id[2]")
    if isinstance(found, str) and _DOCUMENT.fullmatch(found.strip()):
        return found.strip()
    number = values["order_id"]
    return f"DEAL_{number}" if isinstance(number, str) and number.isascii() and number.isdigit() else None
