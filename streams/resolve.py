"""The join's decision: an event and what is known about its visitor become a conversion, a wait, or a rejection.

Pure: the session found, the webhook's configuration and the time are handed in. The rules are section 6 of the design.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Final

from schemas.construct import constructor
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.events import Conversion, EpochMillis, RawEvent, Session, Webhook
from schemas.identity import session_key, visitor_key
from schemas.jsonb import storable
from streams.goals import BadGoal, Goal, goal_of

# Metrika links an upload to visits of the last 21 days and takes up to two hours to process it (Metrika's help,
# "Offline conversions"); later than this, an upload is accepted and silently linked to nothing.
LINKABLE_MS: Final = (21 * 24 - 2) * 3600 * 1000

# How long a sale that Metrika can place by itself waits for its session before it goes ahead.
SHORT_WAIT_MS: Final = 60_000

_LONG: Final = "long"  # Webhook.session_wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long to wait for a session, delay by delay, and how long before Metrika's limit an upload has to be made.

    The delays that together take at most ``short_wait_ms`` are the short ones: an event that Metrika can place without
    its session goes ahead after them.
    """

    delays_ms: tuple[int, ...]
    deadline_margin_ms: int
    short_wait_ms: int = SHORT_WAIT_MS
    short_delays: int = field(init=False)

    def __post_init__(self) -> None:
        ends = itertools.accumulate(self.delays_ms)
        short = sum(1 for _ in itertools.takewhile(lambda end: end <= self.short_wait_ms, ends))
        object.__setattr__(self, "short_delays", short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One attempt at an event: how many delays it has been through, and where it stands in ``crm.events.raw``.

    ``waiting_over`` marks an event that has waited under its session's key and now stands under its visitor's.
    ``went_ahead`` marks one whose conversion is written already: all that is missing is its session.
    """

    attempt: int
    raw_partition: int
    raw_offset: int
    waiting_over: bool = False
    went_ahead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The conversion is known."""

    conversion: Conversion


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """The conversion goes ahead without its session, which may still come: try again at ``due``."""

    conversion: Conversion
    due: EpochMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something may still come: try again at ``due``."""

    due: EpochMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekey:
    """The session never came, but the visitor may be known: ask the partition that holds the visitor's sessions."""

    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The event is no conversion, and waiting longer would not change that."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The conversion went ahead long ago, and its session will not be waited for any longer."""


Outcome = Resolved | Ahead | Wait | Rekey | Rejected | GivenUp

_resolved = constructor(Resolved)
_conversion = constructor(Conversion)


def lookup_key(event: RawEvent, *, waiting_over: bool) -> bytes | None:
    """The key under which the event's session would be: its session, else its visitor, else nothing to look for."""
    if event.session_id and not waiting_over:
        return session_key(event.session_id)
    if event.ym_uid:
        return visitor_key(event.ym_uid)
    return None


def resolve(
    event: RawEvent,
    session: Session | None,
    webhook: Webhook | None,
    *,
    occasion: Occasion,
    policy: Policy,
    now: EpochMillis,
) -> Outcome:
    """Decide what becomes of ``event``.

    ``session`` is what stands under :func:`lookup_key`, ``now`` epoch milliseconds. The outcome
    depends on ``now`` only in ``Wait.due`` and ``Conversion.resolved_at``.
    """
    may_wait = not occasion.waiting_over and occasion.attempt < len(policy.delays_ms)
    if webhook is None:
        problem = "no configuration of this webhook came; check `goalpost admin webhook list`"
        return _wait(occasion, policy, now) if may_wait else _refused(ErrorClass.WEBHOOK_UNKNOWN, problem, occasion)
    goal = goal_of(event, webhook)
    if isinstance(goal, BadGoal):
        return _refused(ErrorClass.GOAL_INVALID, goal.problem, occasion)
    if session is None:
        return _without_session(event, webhook, goal, occasion=occasion, policy=policy, now=now, may_wait=may_wait)
    return _resolved(conversion=_converted(event, session, webhook, goal, occasion=occasion, policy=policy, now=now))


def _without_session(
    event: RawEvent,
    webhook: Webhook,
    goal: Goal,
    *,
    occasion: Occasion,
    policy: Policy,
    now: EpochMillis,
    may_wait: bool,
) -> Outcome:
    if may_wait and lookup_key(event, waiting_over=False) is not None:
        wait = _wait(occasion, policy, now)
        if not _goes_ahead(event, webhook, occasion, policy):
            return wait
        conversion = _converted(event, None, webhook, goal, occasion=occasion, policy=policy, now=now)
        return Ahead(conversion=conversion, due=wait.due)
    if event.session_id and event.ym_uid and not occasion.waiting_over:
        return Rekey(key=visitor_key(event.ym_uid))
    if occasion.went_ahead:
        return GivenUp()
    if not _names_somebody(event):
        return _unidentified(event, occasion)
    return _resolved(conversion=_converted(event, None, webhook, goal, occasion=occasion, policy=policy, now=now))


def _goes_ahead(event: RawEvent, webhook: Webhook, occasion: Occasion, policy: Policy) -> bool:
    """Whether this is the moment in which a conversion goes ahead of its session."""
    return (
        not occasion.went_ahead
        and occasion.attempt >= policy.short_delays
        and webhook.session_wait != _LONG
        and _names_somebody(event)
    )


def _names_somebody(event: RawEvent) -> bool:
    """Whether Metrika can be told whose conversion it is without a session: by an id of its own, or by a contact."""
    visitor = event.ym_uid or event.yclid or event.user_id or event.purchase_id
    return bool(visitor or event.email_md5 or event.phone_md5)


def _wait(occasion: Occasion, policy: Policy, now: EpochMillis) -> Wait:
    return Wait(due=now + policy.delays_ms[occasion.attempt])


def _refused(error_class: ErrorClass, message: str, occasion: Occasion) -> Rejected | GivenUp:
    """A conversion that went ahead is stored: what has changed since, such as a rule, takes nothing back."""
    return GivenUp() if occasion.went_ahead else _rejected(error_class, message, occasion)


def _rejected(error_class: ErrorClass, message: str, occasion: Occasion) -> Rejected:
    attempts = occasion.attempt + 1
    return Rejected(reason=Reason(error_class=error_class, stage=Stage.RESOLVE, message=message, attempts=attempts))


def _unidentified(event: RawEvent, occasion: Occasion) -> Rejected:
    if event.session_id:
        problem = (
            "no session with this session_id came, and the event has no other id; replay it when the session is there"
        )
        return _rejected(ErrorClass.SESSION_NOT_FOUND, problem, occasion)
    problem = "the event has none of session_id, ym_uid, yclid, user_id and purchase_id, nor a phone or an e-mail"
    return _rejected(ErrorClass.EVENT_INVALID, problem, occasion)


def _converted(
    event: RawEvent,
    session: Session | None,
    webhook: Webhook,
    goal: Goal,
    *,
    occasion: Occasion,
    policy: Policy,
    now: EpochMillis,
) -> Conversion:
    linkable_from = event.received_at if session is None else session.last_visit_at
    return _conversion(
        event_id=event.event_id,
        webhook_id=event.webhook_id,
        counter_id=webhook.counter_id,
        metrika_counter_id=webhook.metrika_counter_id,
        source=event.dialect,
        received_at=event.received_at,
        occurred_at=event.occurred_at,
        resolved_at=now,
        session_missing=session is None,
        creates_row=session is not None and session.creates_row,
        target=goal.target,
        price=goal.price,
        deadline_at=linkable_from + LINKABLE_MS - policy.deadline_margin_ms,
        payload=event.payload if event.payload is not None else storable(event.body).decode("utf-8", "replace"),
        goal_rule=goal.chosen_by,
        rules_changed_at=webhook.changed_at,
        attempts=occasion.attempt,
        raw_partition=occasion.raw_partition,
        raw_offset=occasion.raw_offset,
        session_id=event.session_id if session is None else session.session_id,
        row_id=None if session is None else session.row_id,
        session_at=None if session is None else session.session_at,
        client_id=event.ym_uid or (None if session is None else session.ym_uid),
        yclid=event.yclid or (None if session is None else session.yclid),
        user_id=event.user_id or (None if session is None else session.user_id),
        purchase_id=event.purchase_id,
        currency=goal.currency,
        order_id=event.order_id,
        email_md5=event.email_md5,
        phone_md5=event.phone_md5,
        notes=event.notes,
        price_sent=event.goal_value is not None,
        currency_sent=event.currency is not None,
    )
