"""amoCRM and Kommo: webhooks of the account and of the Digital Pipeline.

The account's come as ``leads[<action>][<index>][<field>]``, several leads in one body. The Digital Pipeline leaves the
index out, or writes ``{"lead": {"event": {...}}}``; its widgets write ``{"event": {"type_code", "data", "time"}}``.
Sources: amocrm.ru "Webhooks format", developers.kommo.com "Webhooks in Digital Pipeline" and "Widgets in Digital
Pipeline".

A lead that moves is no conversion yet: those stages count that a rule of the webhook names, and without any rules only
the one of won leads. amoCRM switches a hook off after 100 answers outside 2xx, so nothing here is ever answered 4xx.
"""

from __future__ import annotations

from typing import Final

from producers.dialects.amocrm_leads import Lead, leads_of, set_apart, speaks_of_others
from producers.dialects.contract import identified, reported
from producers.dialects.opening import PROBE, opened, payload_of
from producers.dialects.outcome import (
    Excessive,
    Ignored,
    Outcome,
    Parsed,
    Refused,
    Reported,
    Submission,
    Unidentified,
    Unparseable,
)
from producers.dialects.places import CLIENT_ID, Usual, collected
from producers.dialects.stages import ruled
from producers.fields import BadField

# The same in every account and pipeline; 143 is "lost".
WON: Final = "142"

# goalpost's names, then the lead's own and those of amoCRM's tracking fields; custom fields count like the lead's own.
_USUAL: Final[Usual] = {
    "session_id": ("session_id", "ta_session_id"),
    "ym_uid": ("ym_uid", "_ym_uid", "ym_client_id", "yandex_client_id", CLIENT_ID),
    "yclid": ("yclid",),
    "user_id": ("user_id",),
    "purchase_id": ("purchase_id",),
    "goal_name": ("goal_name",),
    "goal_value": ("goal_value", "price_with_minor_units", "price"),
    "currency": ("currency",),
    "order_id": ("order_id", "id"),
    "event_id": ("event_id",),
}


def parse(submission: Submission) -> Outcome:
    """Return the conversions among the leads of a body. Never raises."""
    content = opened(submission, rename=set_apart)
    if not isinstance(content, dict):
        return content
    if content == PROBE or not content:
        return Parsed(events=())
    if speaks_of_others(content):
        return Parsed(events=(), ignored=(Ignored.OTHER_ENTITY,))
    leads = leads_of(content)
    if not leads:
        return Unparseable(message="there is no lead in the body; subscribe the webhook to events of leads", kept=True)
    staged = [(lead, _stage(lead, submission)) for lead in leads]
    if (excess := submission.excess(sum(stage is not None for _, stage in staged))) is not None:
        return Excessive(message=excess, kept=True)
    found = [_outcome(lead, stage, submission) for lead, stage in staged]
    return Parsed(
        events=tuple(one for one in found if isinstance(one, Reported)),
        ignored=tuple(one for one in found if isinstance(one, Ignored)),
        left_over=next((one for one in found if isinstance(one, Unidentified | Refused | Unparseable)), None),
    )


def _outcome(
    lead: Lead, stage: str | None, submission: Submission
) -> Reported | Ignored | Unidentified | Refused | Unparseable:
    if lead.fault is not None and not _has_rule(lead, submission):
        return Unparseable(message=f"{lead.place} {lead.fault}; let amoCRM send its own webhook here", kept=True)
    if stage is None:
        return Ignored.OTHER_STAGE if lead.enters_stage else Ignored.OTHER_EVENT
    try:
        event = _event(lead, stage, submission)
    except BadField as exc:
        located = exc.within(f"{lead.place}.")
        return Refused(field=located.field, message=str(located), kept=True)
    return event if identified(event) else Unidentified(kept=True)


def _has_rule(lead: Lead, submission: Submission) -> bool:
    """Whether somebody has named the lead's action, whichever it is."""
    return bool(lead.number) and any(rule.stage == lead.action for rule in submission.rules)


def _stage(lead: Lead, submission: Submission) -> str | None:
    """Return what the lead has reached by the webhook's rules.

    A rule may name the stage with its pipeline (``6344290:142``), the stage alone, or another action of amoCRM's.
    """
    entered = (f"{lead.pipeline}:{lead.status}", lead.status) if lead.enters_stage else ()
    if not submission.rules:
        return WON if WON in entered else None
    return ruled((*entered, lead.action), submission.rules, otherwise=lead.status if entered else None)


def _event(lead: Lead, stage: str, submission: Submission) -> Reported:
    found = collected(lead.sheet, {**_USUAL, "occurred_at": lead.moments}, submission)
    return reported(
        {**found.values, "stage": stage},
        submission,
        passed_over=found.passed_over,
        payload=payload_of({"action": lead.action, "lead": lead.fields, "account": lead.account_fields}),
        key=f"lead:{lead.number}:{_entry(lead, stage)}",
    )


def _entry(lead: Lead, stage: str) -> str:
    """Return what tells this from other conversions of the lead, whichever hook tells it.

    No time is in a move: amoCRM tells one by up to three hooks, which differ by a second, or have none.
    """
    if not lead.enters_stage:
        return f"{lead.action}:{lead.changed}"
    return f"{stage}:{lead.status}" if stage == lead.action else stage
