"""Kept request bodies, parsed anew: by the door's own function, with what the door recorded of the request."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from goalpost.dead_letters.letter import BODY_TOPICS, Letter
from goalpost.dead_letters.masking import as_json
from goalpost.dead_letters.remake import Partly, Records, Unreadable
from producers.codings import Undecoded, decoded, looks_plain
from producers.dialects import DIALECTS
from producers.dialects.sizes import UNHURRIED
from producers.fetching.deals import counts
from producers.publisher import TooLarge
from producers.raw_events import Delivery, parameters_of, recorded
from producers.taking import MISSING_IDS, Taken, taken
from producers.times import DEFAULT_ZONE
from schemas.codec import Codec
from schemas.dead_letter import replay_headers
from schemas.events import RawEvent, Webhook
from schemas.identity import event_id_for
from schemas.records import IGNORED_STAGE_HEADER, header, whole_number
from schemas.topics import IGNORED, RECORD_LIMIT_BYTES


class Parser:
    """Makes raw events of kept bodies.

    ``webhook`` returns a webhook's configuration as it is today. ``zone`` is where times are local if that does not
    say.
    """

    def __init__(
        self,
        *,
        webhook: Callable[[str], Webhook | None],
        codec: Callable[[], Codec[RawEvent]],
        zone: str = DEFAULT_ZONE,
    ) -> None:
        self._webhook = webhook
        self._codec = codec
        self._zone = zone

    def __call__(self, letter: Letter, body: bytes, run_id: str, fixed: bool) -> Records | Partly:
        """Return the records of the events that ``body`` reports; of an ignored one, those that have a rule by now.

        Their ids are those that the door would have given, or has given to those that it took; where it would have made
        one up, the id follows from the letter's, so that a replay repeats an event instead of adding one.

        Raises:
            Unreadable: today's dialect of the webhook refuses the body, too, or the webhook is gone; or the fix has
                moved the conversions of an array, which are known by their places.
        """
        webhook = self._webhook(letter.webhook_id)
        if webhook is None:
            raise Unreadable("its webhook is gone; publish it again, or discard this letter")
        if _length(letter.record.value or b"") not in (None, _length(body)):
            raise Unreadable("it holds several conversions, which are known by their places; mend them where they are")
        delivery = _delivery(letter, _decoded(letter, body, fixed=fixed), webhook)
        found = self._taken(delivery, webhook, _identity(letter))
        headers = replay_headers(letter.record, run_id=run_id, fixed=fixed)
        if letter.record.topic == IGNORED.name:
            stage = header(letter.record.headers, IGNORED_STAGE_HEADER)
            if stage is not None and not counts(stage, webhook, won=False):
                return Partly(records=())
            # What was unusable in it was kept on its own when it came.
            events = [record for record in found.records if record.topic not in BODY_TOPICS]
            made = tuple(replace(record, headers=record.headers + headers) for record in events)
            rest = any(one.may_count for one in found.ignored)
            return Partly(records=made) if rest or not made else made
        if found.kept_for is not None:  # whatever else is in the body was taken when it came
            raise Unreadable(found.kept_for.message)
        if not found.records:
            raise Unreadable("today's parser finds no conversion in it; discard it")
        return tuple(replace(record, headers=record.headers + headers) for record in found.records)

    def _taken(self, delivery: Delivery, webhook: Webhook, letter_id: uuid.UUID) -> Taken:
        dialect = DIALECTS.get(delivery.dialect)
        if dialect is None:
            raise Unreadable(f"this version does not know the webhook's dialect, {delivery.dialect}")
        query = parameters_of((delivery.query or "").encode("latin-1", "replace"))
        try:
            ids = (event_id_for(webhook.webhook_id, f"letter:{letter_id}#{index}") for index in count())
            found = taken(
                delivery,
                query,
                webhook,
                dialect,
                self._codec(),
                new_id=ids.__next__,
                kept_as=letter_id,
                default_zone=self._zone,
                sizes=UNHURRIED,
            )
        except TooLarge as exc:
            raise Unreadable(str(exc)) from exc
        if isinstance(found, Taken):
            return found
        raise Unreadable(getattr(found, "message", MISSING_IDS))


def _decoded(letter: Letter, body: bytes, *, fixed: bool) -> bytes:
    """Return a body without the content-coding that could not be undone when it came; a fix may have undone it."""
    coding = header(letter.record.headers, "content-encoding")
    if coding is None or (fixed and looks_plain(body)):
        return body
    found = decoded(body, coding, limit_bytes=RECORD_LIMIT_BYTES)
    if isinstance(found, Undecoded):
        raise Unreadable(found.why)
    return found


def _delivery(letter: Letter, body: bytes, webhook: Webhook) -> Delivery:
    headers = letter.record.headers
    received_at = whole_number(header(headers, "received_at"))
    return Delivery(
        webhook_id=webhook.webhook_id,
        dialect=webhook.dialect,
        received_at=letter.origin_ms if received_at is None else received_at,
        body=body,
        content_type=recorded(headers, "content-type") or None,
        query=recorded(headers, "query") or None,
        key=recorded(headers, "delivery_key") or None,
    )


def _identity(letter: Letter) -> uuid.UUID:
    try:
        return uuid.UUID(letter.letter_id)
    except ValueError:  # of another tool
        return uuid.uuid5(uuid.NAMESPACE_URL, letter.place)


def _length(body: bytes) -> int | None:
    """How many conversions an array holds; ``None`` for what is none."""
    found = as_json(body)
    return len(found) if isinstance(found, list) else None
