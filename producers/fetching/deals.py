"""From a deal as Bitrix24 shows it to the conversion that it is, or is not. Pure."""

from __future__ import annotations

from typing import Final

from producers.dialects.bitrix24 import USUAL
from producers.dialects.contract import identified, reported
from producers.dialects.lookup import Sheet
from producers.dialects.outcome import Ignored, Reported, Submission, Unidentified
from producers.dialects.places import collected
from producers.dialects.stages import ruled
from producers.fetching.portal import Deal
from producers.times import DEFAULT_ZONE, zone_of
from schemas.events import EpochMillis, RawEvent, Webhook

# Bitrix24 REST documentation, "crm.deal.get": S is success, in whichever pipeline.
_WON: Final = "S"
_ID: Final = "ID"


def conversion_of(
    deal: Deal, note: RawEvent, webhook: Webhook, *, zone: str = DEFAULT_ZONE, read_at: EpochMillis | None = None
) -> Reported | Ignored | Unidentified:
    """Return what a fetched deal means: a conversion where a rule names its stage, or, without rules, where it is won.

    The deal, its stage and the time of its last move make the event's id: as often as it is saved, it is one event.
    ``zone`` is where times without an offset are local if the webhook does not say; ``read_at`` is when the deal was
    read, for it may have moved since the note.

    Raises:
        BadField: a field cannot be read.
    """
    submission = _submission(webhook, read_at or note.received_at, zone)
    found = collected(Sheet(deal), USUAL, submission)
    values = found.values
    number, stage = str(deal.get(_ID) or note.order_id), str(values.get("stage") or "")
    if not counts(stage, webhook, won=deal.get("STAGE_SEMANTIC_ID") == _WON):
        return Ignored.OTHER_STAGE
    values["order_id"] = values.get("order_id") or number
    moved = deal.get("MOVED_TIME") or ""
    key = f"deal:{number}:{stage}:{moved}"
    event = reported(values, submission, key=key, passed_over=found.passed_over)
    return event if identified(event) else Unidentified(kept=True)


def counts(stage: str, webhook: Webhook, *, won: bool) -> bool:
    """Whether a stage is worth a goal: one that a rule names, and without rules one in which the deal is ``won``."""
    if webhook.rules:
        return ruled((stage,), webhook.rules, otherwise=stage) is not None
    return won


def stage_of(deal: Deal, webhook: Webhook, *, now: EpochMillis) -> str:
    """Return the stage that a deal is in."""
    found = collected(Sheet(deal), {"stage": USUAL["stage"]}, _submission(webhook, now, DEFAULT_ZONE))
    return str(found.values.get("stage") or "")


def _submission(webhook: Webhook, received_at: EpochMillis, zone: str) -> Submission:
    return Submission(
        body=b"",
        content_type=None,
        query=(),
        received_at=received_at,
        fields=webhook.fields,
        contacts=webhook.uploads_orders,
        zone=zone_of(webhook, zone),
        currency=webhook.default_currency,
    )
