"""A deal that was read, as the record of ``crm.events.raw`` that its conversion is. Pure but for new ids."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Final

from producers.dialects.outcome import Reported
from producers.fetching.portal import Deal
from producers.publisher import check_sizes
from producers.raw_events import delivery_of, raw_events, raw_record
from schemas.codec import Codec
from schemas.events import RawEvent
from schemas.records import Outgoing

_JSON: Final = "application/json"


def published(conversion: Reported, deal: Deal, note: RawEvent, codec: Codec[RawEvent]) -> list[Outgoing]:
    """Return what is written for a conversion that ``note`` has announced; the deal is its body.

    Raises:
        producers.publisher.TooLarge: the deal does not fit into a record.
    """
    body = json.dumps(deal, ensure_ascii=False).encode("utf-8", "replace")
    delivery = replace(delivery_of(note), body=body, content_type=_JSON, query=None)
    records = [raw_record(event, codec) for event in raw_events([conversion], delivery, new_id=uuid.uuid4)]
    check_sizes(records)
    return records
