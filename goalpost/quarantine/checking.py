"""Whether a request in quarantine is authentic now, and what the door would have made of it: pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final

from producers.authentication import Denied, Proof, entry_by_secret, proof_by_id
from producers.dialects import DIALECTS
from producers.directory import Entry, Index
from producers.publisher import TooLarge
from producers.quarantine import SHOWN_HEADER, UNNAMED
from producers.raw_events import Delivery, parameters_of, recorded
from producers.signature import HEADERS as SIGNATURE_HEADERS
from producers.signature import Verified
from producers.signed import content_type_of, field_in_address
from producers.taking import Taken, taken
from producers.times import DEFAULT_ZONE
from schemas.codec import Codec
from schemas.events import RawEvent
from schemas.identity import event_id_for
from schemas.records import Incoming, Outgoing, header, whole_number

_MILLISECONDS: Final = 1000


class Verdict(StrEnum):
    """What a request in quarantine is now."""

    AUTHENTIC = "authentic"
    STILL_WRONG = "still wrong"
    WEBHOOK_GONE = "webhook gone"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A request, what it is now, and what to publish of it."""

    webhook_id: str
    place: str
    received_at: int
    verdict: Verdict
    records: tuple[Outgoing, ...] = ()
    event_ids: tuple[str, ...] = ()


def checked(record: Incoming, index: Index, codec: Codec[RawEvent], *, zone: str = DEFAULT_ZONE) -> Checked:
    """Check a request with its webhook's secrets of today.

    A signature has to be as recent as it had to be when the request came; what has no id of its own gets one that
    follows from its place here, so that a second retry repeats the event instead of adding one.
    """
    webhook_id = (record.key or b"").decode("utf-8", "replace")
    place = f"{record.partition}:{record.offset}"
    said = whole_number(header(record.headers, "received_at"))
    received_at = record.timestamp if said is None else said
    named = webhook_id != UNNAMED
    entry = index.by_id.get(webhook_id.lower()) if named else _entry_of(record, index)

    def found(verdict: Verdict, outcome: Taken | None = None) -> Checked:
        return Checked(
            webhook_id=webhook_id if entry is None else entry.webhook.webhook_id,
            place=place,
            received_at=received_at,
            verdict=verdict,
            records=() if outcome is None else tuple(outcome.records),
            event_ids=() if outcome is None else tuple(outcome.event_ids),
        )

    if entry is None:
        return found(Verdict.WEBHOOK_GONE if named else Verdict.STILL_WRONG)
    proof = _proof(record, entry, received_at)
    if isinstance(proof, Denied):
        return found(Verdict.STILL_WRONG)
    outcome = _taken(record, entry, received_at, codec, proof, zone)
    return found(Verdict.UNUSABLE) if outcome is None else found(Verdict.AUTHENTIC, outcome)


def _shown(record: Incoming) -> list[str]:
    return [part for part in (header(record.headers, SHOWN_HEADER) or "").split(",") if part]


def _entry_of(record: Incoming, index: Index) -> Entry | None:
    """Return the one webhook whose secret the request has shown, as the door finds it."""
    found = entry_by_secret(index, _shown(record))
    return found if isinstance(found, Entry) else None


def _proof(record: Incoming, entry: Entry, received_at: int) -> Proof | Verified | Denied:
    signed = {name.encode(): value or b"" for name, value in record.headers if name.encode() in SIGNATURE_HEADERS}
    body = record.value or b""
    return proof_by_id(entry, _shown(record), signed, (body,), now_seconds=received_at / _MILLISECONDS)


def _taken(
    record: Incoming, entry: Entry, received_at: int, codec: Codec[RawEvent], proof: Proof | Verified, zone: str
) -> Taken | None:
    webhook, body = entry.webhook, record.value or b""
    dialect = DIALECTS.get(webhook.dialect)
    if dialect is None:
        return None
    query = recorded(record.headers, "query")
    content_type, key = recorded(record.headers, "content-type"), recorded(record.headers, "delivery_key")
    parameters = parameters_of((query or "").encode())
    # Kept under an id that follows from its place, too, should a part of it be unusable.
    made_up, kept_as = _ids(webhook.webhook_id, record), uuid.uuid5(uuid.NAMESPACE_URL, _seed(record))
    if isinstance(proof, Verified):
        if field_in_address(parameters, webhook) is not None:
            return None
        query, parameters, content_type, key = None, (), content_type_of(body), proof.key
        made_up, kept_as = proof.event_ids(webhook.webhook_id), proof.letter_id(webhook.webhook_id)
    delivery = Delivery(
        webhook_id=webhook.webhook_id,
        dialect=webhook.dialect,
        received_at=received_at,
        body=body,
        content_type=content_type,
        query=query,
        key=key,
    )
    try:
        outcome = taken(
            delivery,
            parameters,
            webhook,
            dialect,
            codec,
            new_id=made_up.__next__,
            kept_as=kept_as,
            default_zone=zone,
        )
    except TooLarge:
        return None
    return outcome if isinstance(outcome, Taken) else None


def _ids(webhook_id: str, record: Incoming) -> Iterator[str]:
    return (event_id_for(webhook_id, f"{_seed(record)}#{number}") for number in count())


def _seed(record: Incoming) -> str:
    return f"quarantine:{record.partition}:{record.offset}:{record.timestamp}"
