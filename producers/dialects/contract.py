"""goalpost's own fields: how each is read, and what of them is taken with a note instead of as it was sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from producers.dialects.contacts import email_md5, phone_md5
from producers.dialects.outcome import Doubt, Reported, Submission
from producers.fields import BadField, Values, text
from producers.identifiers import NoIdentifier, digits, identifier
from producers.money import currencies, money
from producers.times import FromFuture, moment
from schemas.construct import constructor
from schemas.currencies import NoCurrency, chosen
from schemas.events import EpochMillis

# Yandex Metrika help, "JavaScript event goal": an identifier with one of these never matches.
_FORBIDDEN_IN_GOAL: Final = re.compile(r'[/\\&#?="]')

_PASSED_OVER_NOTE: Final = "{} was passed over: it {}"
_TIME_NOTE: Final = "{} {}, so the time of receipt stands"


def _goal(values: Values, name: str) -> str | None:
    goal = text(values, name)
    if goal is not None and _FORBIDDEN_IN_GOAL.search(goal):
        raise BadField(name, "contains one of / \\ & # ? = \" which Metrika forbids; send the goal's identifier")
    return goal


# What names a visitor, each by itself.
_VISITORS: Final = frozenset({"session_id", "ym_uid", "yclid", "user_id", "purchase_id"})
READERS: Final[Mapping[str, Callable[[Values, str], Any]]] = {
    "session_id": identifier,
    "ym_uid": digits,
    "yclid": digits,
    "user_id": identifier,
    "purchase_id": identifier,
    "goal_name": _goal,
    "stage": text,
    "order_id": identifier,
    "event_id": identifier,
}
# Read only for webhooks that upload orders, and only as hashes.
CONTACTS: Final[Mapping[str, Callable[[Values, str], str | None]]] = {"email": email_md5, "phone": phone_md5}

FIELDS: Final = frozenset({*READERS, *CONTACTS, "goal_value", "currency", "occurred_at"})
_WITHOUT_CONTACTS: Final = FIELDS - CONTACTS.keys()

_reported = constructor(Reported)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a sender says, by goalpost's own names, and which usual fields hold something else than they should."""

    values: dict[str, Any]
    passed_over: tuple[BadField, ...] = ()


def fields_read(*, contacts: bool) -> frozenset[str]:
    """Return the fields that are looked for; ``contacts`` where the webhook uploads orders."""
    return FIELDS if contacts else _WITHOUT_CONTACTS


def reported(
    values: Values,
    submission: Submission,
    *,
    payload: str | None = None,
    key: str | None = None,
    passed_over: Sequence[BadField] = (),
) -> Reported:
    """Return the conversion that ``values`` (by goalpost's own names) describe.

    Where the submission counts contacts an e-mail and a phone become hashes. One that cannot be read costs no
    conversion that has a visitor without it: people write all sorts of things there. Neither does an identifier that
    says that it is none, nor a time that has not come yet; the conversion then says so in its notes.

    Raises:
        BadField: a field cannot be read, or the only ones that could name a visitor hold something else.
    """
    found: dict[str, Any] = {}
    doubtful = list(passed_over)
    for name in values:
        if (read := READERS.get(name)) is not None:
            try:
                found[name] = read(values, name)
            except NoIdentifier as exc:
                doubtful.append(exc)
    amount, currency = _worth(values, submission.currency)
    occurred_at: EpochMillis | None = None
    if "occurred_at" in values:
        try:
            occurred_at = moment(values, "occurred_at", now=submission.received_at, zone=submission.zone)
        except FromFuture as exc:
            doubtful.append(exc)
    event = _reported(**found, goal_value=amount, currency=currency, occurred_at=occurred_at, payload=payload, key=key)
    if submission.contacts:
        event = _with_contacts(event, values)
    return _noted(event, doubtful) if doubtful else event


def _worth(values: Values, usual: str | None) -> tuple[Decimal | None, str | None]:
    """Return the amount and its currency: the one that the sender names, beside the amount or in a field of its own."""
    worth = money(values, "goal_value") if "goal_value" in values else None
    stated = currencies(values, "currency") if "currency" in values else ()
    amount, beside = worth or (None, ())
    meant = [one for one in stated if one in beside] if stated and beside else stated or beside
    if not meant:
        if stated:
            raise BadField("currency", "is another one than goal_value names; send one currency")
        return amount, None
    try:
        return amount, chosen(meant, usual=usual)
    except NoCurrency as exc:
        raise BadField("currency" if stated else "goal_value", str(exc)) from exc


def _noted(event: Reported, doubtful: Sequence[BadField]) -> Reported:
    """Return the conversion with notes of what was not taken as it was sent.

    Raises:
        BadField: nothing else names a visitor.
    """
    if not identified(event) and (visitors := [one for one in doubtful if one.field in _VISITORS]):
        raise visitors[0]
    noted = [found for one in doubtful if (found := _note_of(one)) is not None]
    return replace(
        event,
        notes="; ".join(sentence for _, sentence in noted) or None,
        doubts=tuple(doubt for doubt, _ in noted),
    )


def _note_of(problem: BadField) -> tuple[Doubt, str] | None:
    """Return what a person is told of a field, and how it is counted; a contact that is none is nothing special."""
    if problem.field == "occurred_at":
        doubt = Doubt.TIME_IN_FUTURE if isinstance(problem, FromFuture) else Doubt.TIME_UNREADABLE
        return doubt, _TIME_NOTE.format(problem.field, problem.problem)
    if problem.field in READERS:
        return Doubt.ID_UNREADABLE, _PASSED_OVER_NOTE.format(problem.field, problem.problem)
    return None


def _with_contacts(event: Reported, values: Values) -> Reported:
    hashes: dict[str, str | None] = {}
    unreadable: BadField | None = None
    for name, read in CONTACTS.items():
        try:
            hashes[name] = read(values, name)
        except BadField as exc:
            unreadable = exc
    found = replace(event, email_md5=hashes.get("email"), phone_md5=hashes.get("phone"))
    if unreadable is not None and not identified(found):
        raise unreadable
    return found


def identified(event: Reported) -> bool:
    """Whether the conversion names a session, a visitor, or at least a person."""
    visitor = event.session_id or event.ym_uid or event.yclid or event.user_id or event.purchase_id
    return bool(visitor or event.email_md5 or event.phone_md5)
