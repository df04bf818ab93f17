"""What goes into a dialect and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from schemas.events import EpochMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An authentic request. ``query`` holds the URL's parameters without secrets."""

    body: bytes
    content_type: str | None
    query: tuple[tuple[str, str], ...]
    received_at: EpochMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One conversion as the sender reported it.

    ``event_id`` is the sender's own; ``occurred_at`` of ``None`` means the receive time; ``payload`` is the
    conversion's JSON, or ``None`` where the body itself is exactly that JSON.
    """

    session_id: str | None = None
    ym_uid: str | None = None
    yclid: str | None = None
    user_id: str | None = None
    purchase_id: str | None = None
    goal_name: str | None = None
    stage: str | None = None
    goal_value: Decimal | None = None
    currency: str | None = None
    order_id: str | None = None
    occurred_at: EpochMillis | None = None
    event_id: str | None = None
    payload: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The body is understood. No events at all means a probe: the CRM only tries out the address."""

    events: tuple[Reported, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unidentified:
    """The one conversion in the body names neither a session nor a visitor. ``kept`` is as in :class:`Refused`."""

    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A field cannot be used; nothing of the body is taken.

    ``kept`` is true where the sender is a CRM that cannot mend its request and switches a hook off that answers 4xx:
    such a body is answered 200 and kept in the topic of rejected bodies, from where it can be replayed.
    """

    field: str
    message: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unparseable:
    """The body as a whole is not what it claims to be. ``kept`` is as in :class:`Refused`."""

    message: str
    kept: bool


Outcome = Parsed | Unidentified | Refused | Unparseable
