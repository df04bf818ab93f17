"""A request to a webhook of any dialect, without HTTP: what the door would store and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from urllib.parse import urlencode

from goalpost.webhooks.rules import parse_rule
from producers.dialects import DIALECTS
from producers.dialects.outcome import Unusable
from producers.raw_events import Delivery, parameters_of, query_text
from producers.taking import Taken, taken
from schemas.events import RawEvent
from tests.golden.cases import is_kept
from tests.unit.producers.parts import NOW_MS, RAW_CODEC, webhook

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

Pairs = Sequence[tuple[str, str]]


def outcome(
    dialect: str,
    body: bytes | Pairs,
    content_type: str | None = FORM,
    *,
    query: str = "",
    rules: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
    **configured: object,
) -> Taken | Unusable:
    """Return what becomes of a body, given as it travels or as the pairs of a form; ``configured`` is its webhook's."""
    sent = body if isinstance(body, bytes) else urlencode(body).encode()
    speaker = DIALECTS[dialect]
    parameters = parameters_of(query.encode())
    made_up = (f"made up {number}" for number in count())
    return taken(
        Delivery(
            webhook_id=webhook().webhook_id,
            dialect=dialect,
            received_at=NOW_MS,
            body=sent if speaker.stored is None else speaker.stored(sent, content_type),
            content_type=content_type,
            query=query_text(parameters),
            key=None,
        ),
        parameters,
        webhook(
            dialect=dialect,
            rules=tuple(parse_rule(rule) for rule in rules),
            fields=fields or {},
            **configured,
        ),
        speaker,
        RAW_CODEC,
        new_id=made_up.__next__,
    )


def accepted(*args: object, **kwargs: object) -> Taken:
    """Return the outcome where nobody is refused."""
    found = outcome(*args, **kwargs)  # type: ignore[arg-type]  # as of outcome
    assert isinstance(found, Taken), found
    return found


def events(found: Taken) -> list[RawEvent]:
    """Return the events among what is stored."""
    return [RAW_CODEC.decode(record.value) for record in found.records if not is_kept(record.topic)]


def error_class(found: Taken) -> str | None:
    """Return why the body itself is kept."""
    return None if found.kept_for is None else found.kept_for.error_class.value
