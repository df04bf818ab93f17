"""What goes into a dialect and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Final

from producers.dialects.sizes import USUAL_SIZES, Sizes
from producers.times import DEFAULT_ZONE, zone_named
from schemas.events import EpochMillis, GoalRule

_USUAL_ZONE: Final = zone_named(DEFAULT_ZONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An authentic request to a webhook.

    ``query`` holds the URL's parameters without secrets. ``fields`` says where this webhook's sender keeps what
    (goalpost's name of a field to the sender's name or path), ``rules`` which stages are worth a goal. ``contacts``: an
    e-mail and a phone count as well, because the webhook uploads orders. ``zone`` is where times without an offset are
    local, ``currency`` what amounts usually are in. ``sizes`` bounds what a body may hold.
    """

    body: bytes
    content_type: str | None
    query: tuple[tuple[str, str], ...]
    received_at: EpochMillis
    fields: Mapping[str, str]
    rules: tuple[GoalRule, ...] = ()
    contacts: bool = False
    zone: tzinfo = _USUAL_ZONE
    currency: str | None = None
    sizes: Sizes = USUAL_SIZES

    def excess(self, conversions: int) -> str | None:
        """As :meth:`Sizes.excess`, for this request."""
        address = sum(len(name) + len(value) for name, value in self.query) if conversions > 1 else 0
        return self.sizes.excess(conversions, len(self.body) + address)


class Doubt(StrEnum):
    """Why something of a conversion was not taken as it was sent. Bounded: a metric has it as label."""

    TIME_IN_FUTURE = "time_in_future"
    TIME_UNREADABLE = "time_unreadable"
    ID_UNREADABLE = "id_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One conversion as the sender reported it.

    ``event_id`` is the sender's own; ``key`` is what the dialect knows the sender to repeat unchanged (a submission's
    number, a lead with its stage). ``occurred_at`` of ``None`` means the receive time; ``payload`` is the
    conversion's JSON, or ``None`` where the body itself is exactly that JSON. ``notes`` says for people what
    was not taken as it was sent, ``doubts`` the same for a metric.
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
    key: str | None = None
    email_md5: str | None = None
    phone_md5: str | None = None
    notes: str | None = None
    doubts: tuple[Doubt, ...] = ()


class Ignored(StrEnum):
    """Why something that a CRM reports is no conversion. Bounded: a metric has it as label."""

    OTHER_STAGE = "other_stage"
    OTHER_EVENT = "other_event"
    OTHER_ENTITY = "other_entity"

    @property
    def may_count(self) -> bool:
        """Whether a rule added later can make a conversion of it, so that it is kept for a while."""
        return self is not Ignored.OTHER_ENTITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Unidentified:
    """A conversion names neither a session nor a visitor. ``kept`` is as in :class:`Refused`."""

    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A field cannot be used; nothing of the body, or of the lead in question, is taken.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Excessive:
    """There are more conversions in the body than one request may have. ``kept`` is as in :class:`Refused`."""

    message: str
    kept: bool


Unusable = Unidentified | Refused | Unparseable | Excessive


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The body is understood.

    A CRM puts several leads into one body: ``ignored`` are those that are no conversions by the webhook's rules, and
    ``left_over`` says why the first of those was not taken that should have been; the body is then kept as well.
    Nothing at all means a probe: the CRM only tries out the address. ``places`` says where in the body each event
    stands, in dialects that may take some of them and leave others over: those are told apart by it.
    """

    events: tuple[Reported, ...]
    ignored: tuple[Ignored, ...] = ()
    left_over: Unusable | None = None
    places: tuple[int, ...] = ()


Outcome = Parsed | Unusable
