"""Requests that did not authenticate, kept for a day: a wrong secret is often ours to mend, and the event is not lost.

What is kept must not be worth stealing, nor fill a disk: of the secrets shown only their hashes, of the headers only
those that a signature is checked with, bodies up to a limit, and no more than a few a second; nothing is done for the
others. Nothing is promised to the sender, who gets 401 all the same. ``goalpost quarantine`` checks them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from producers.limits import Rate, Rates
from producers.signature import HEADERS as SIGNATURE_HEADERS
from runtime.metrics import QUARANTINED
from schemas.events import EpochMillis
from schemas.records import Headers, Outgoing
from schemas.topics import QUARANTINE

# In place of a webhook's id, where its secret alone would have said which one is meant.
UNNAMED: Final = "unnamed"
SHOWN_HEADER: Final = "quarantine.shown"
BODY_LIMIT_BYTES: Final = 64 * 1024

_PER_SECOND: Final = 20.0
_PER_WEBHOOK_AND_SECOND: Final = 1.0

_kept = QUARANTINED.labels("kept")
_too_large = QUARANTINED.labels("too_large")
_too_many = QUARANTINED.labels("too_many")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A request with a wrong secret or signature, to a known webhook or :data:`UNNAMED`.

    ``headers`` have lower-case names.
    """

    webhook_id: str
    received_at: EpochMillis
    body: bytes
    headers: Mapping[bytes, bytes]
    content_type: str | None
    query: str | None
    key: str | None
    shown_hashes: Sequence[str]


class Quarantine:
    """Decides what is kept. ``offer`` sends a record that may be dropped; ``clock`` returns seconds."""

    def __init__(self, offer: Callable[[Outgoing], None], clock: Callable[[], float]) -> None:
        self._offer = offer
        self._clock = clock
        self._all = Rate(_PER_SECOND)
        self._each = Rates(clock)

    def has_room(self, webhook_id: str, body_bytes: int) -> bool:
        """Whether a request may be kept: it is not too large, and there are not too many. One that may is counted."""
        if body_bytes > BODY_LIMIT_BYTES:
            _too_large.inc()
        elif self._one_too_many(webhook_id):
            _too_many.inc()
        else:
            return True
        return False

    def keep(self, suspect: Suspect) -> None:
        """Keep a request for which there :meth:`has_room`."""
        self._offer(record_of(suspect))
        _kept.inc()

    def _one_too_many(self, webhook_id: str) -> bool:
        if self._each.wait_seconds(webhook_id, _PER_WEBHOOK_AND_SECOND, at_most=0.0) > 0:
            return True
        return self._all.wait_seconds(self._clock(), at_most=0.0) > 0


def record_of(suspect: Suspect) -> Outgoing:
    """Return the record of a request: its body, and in headers what it takes to check and to read it later."""
    described = {
        "content-type": suspect.content_type,
        "query": suspect.query,
        "received_at": str(suspect.received_at),
        "delivery_key": suspect.key,
        SHOWN_HEADER: ",".join(suspect.shown_hashes) or None,
    }
    headers: Headers = tuple((name, text.encode()) for name, text in described.items() if text is not None)
    signed: Headers = tuple(
        (name.decode(), suspect.headers[name]) for name in SIGNATURE_HEADERS if name in suspect.headers
    )
    return Outgoing(
        topic=QUARANTINE.name, key=suspect.webhook_id.encode(), value=suspect.body, headers=headers + signed
    )
