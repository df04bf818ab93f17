"""Bodies of session intake as records and the answer to them. Pure, and as long as the body: not for the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from producers.dialects.sizes import Sizes
from producers.dialects.wrapping import json_of
from producers.exchange import Answer, success
from producers.fields import BadField
from producers.intake import Removed, Skipped, beacon, change, removal_record, session_records
from producers.publisher import TooLarge, check_sizes
from producers.supabase import NotJson, payload_of
from schemas.codec import Codec
from schemas.events import EpochMillis, Session
from schemas.records import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBody:
    """What a body says: its records, how many sessions those are, and what is answered once they are safe."""

    records: list[Outgoing]
    sessions: int
    answer: Answer


def of_beacon(body: bytes, received_at: EpochMillis, codec: Codec[Session], sizes: Sizes) -> SessionBody:
    """Return what the site's script sends: one session or an array.

    Raises:
        NotJson: the body is not JSON.
        BadField: a field cannot be used.
        TooLarge: there are too many sessions in it, or one of them is larger than a record may be.
    """
    content = _json(body)
    if not isinstance(content, list):
        return _body(session_records(beacon(content, received_at=received_at), codec), 1)
    if len(content) > sizes.sessions:
        raise TooLarge(f"an array of {len(content)} sessions is too long; send at most {sizes.sessions} at once")
    records = []
    for index, item in enumerate(content):
        try:
            records += session_records(beacon(item, received_at=received_at), codec)
        except BadField as exc:
            raise exc.within(f"[{index}].") from exc
    return _body(records, len(content))


def of_supabase(body: bytes, received_at: EpochMillis, codec: Codec[Session], _sizes: Sizes) -> SessionBody:
    """Return what a database webhook of Supabase's says of one row.

    Raises:
        NotJson: the body is not JSON.
        BadField: it is no such webhook, or that of another table.
    """
    content = payload_of(body)
    if content is None:
        raise BadField("body", "is not a JSON object; use Supabase's own database webhooks")
    changed = change(content, received_at=received_at)
    if isinstance(changed, Skipped):
        answer = success(202, sessions=0, skipped=1, reason=changed.why)
        return SessionBody(records=[], sessions=0, answer=answer)
    if isinstance(changed, Removed):
        return _body([removal_record(changed)], 1)
    return _body(session_records(changed, codec), 1)


def _body(records: list[Outgoing], sessions: int) -> SessionBody:
    check_sizes(records)
    return SessionBody(records=records, sessions=sessions, answer=success(202, sessions=sessions))


def _json(body: bytes) -> Any:
    try:
        return json_of(body)
    except orjson.JSONDecodeError as exc:
        raise NotJson(f"{exc.msg} at line {exc.lineno}, column {exc.colno}") from exc
