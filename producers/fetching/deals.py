"""From a deal as Bitrix24 shows it to the conversion that it is, or is not. Pure."""

from __future__ import annotations

from typing import Final

from producers.dialects.bitrix24 import USUAL, with_money
from producers.dialects.contract import collected, identified, reported
from producers.dialects.lookup import Sheet
from producers.dialects.outcome import Ignored, Reported, Unidentified
from producers.dialects.stages import ruled
from producers.fetching.portal import Deal
from schemas.events import EpochMillis, RawEvent, Webhook

# Bitrix24 REST documentation, "crm.deal.get": S is success, in whichever pipeline.
_WON: Final = "S"
_ID: Final = "ID"


def conversion_of(deal: Deal, note: RawEvent, webhook: Webhook) -> Reported | Ignored | Unidentified:
    """Return what a fetched deal means: a conversion where a rule names its stage, or, without rules, where it is won.

    The deal, its stage and the time of its last move make the event's id: as often as it is saved, it is one event.

    Raises:
        BadField: a field cannot be read.
    """
    sheet = Sheet(deal)
    contacts = webhook.uploads_orders
    values = with_money(collected(sheet, webhook.fields, USUAL, now=note.received_at, contacts=contacts))
    number, stage = str(deal.get(_ID) or note.order_id), str(values.get("stage") or "")
    if not counts(stage, webhook, won=deal.get("STAGE_SEMANTIC_ID") == _WON):
        return Ignored.OTHER_STAGE
    values["order_id"] = values.get("order_id") or number
    moved = deal.get("MOVED_TIME") or ""
    event = reported(values, now=note.received_at, key=f"deal:{number}:{stage}:{moved}", contacts=contacts)
    return event if identified(event) else Unidentified(kept=True)


def counts(stage: str, webhook: Webhook, *, won: bool) -> bool:
    """Whether a stage is worth a goal: one that a rule names, and without rules one in which the deal is ``won``."""
    if webhook.rules:
        return ruled((stage,), webhook.rules, otherwise=stage) is not None
    return won


def stage_of(deal: Deal, webhook: Webhook, *, now: EpochMillis) -> str:
    """Return the stage that a deal is in."""
    return str(collected(Sheet(deal), webhook.fields, {"stage": USUAL["stage"]}, now=now).get("stage") or "")
