"""goalpost's own fields: how each is read, and where a sender that does not know them keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from producers.dialects.contacts import email_md5, phone_md5
from producers.dialects.lookup import Sheet
from producers.dialects.outcome import Reported
from producers.fields import BadField, Values, amount, currency, digits, moment, text
from schemas.construct import constructor
from schemas.events import EpochMillis

# Yandex Metrika help, "JavaScript event goal": an identifier with one of these never matches.
_FORBIDDEN_IN_GOAL: Final = re.compile(r'[/\\&#?="]')


def _goal(values: Values, name: str) -> str | None:
    goal = text(values, name)
    if goal is not None and _FORBIDDEN_IN_GOAL.search(goal):
        raise BadField(name, "contains one of / \\ & # ? = \" which Metrika forbids; send the goal's identifier")
    return goal


_READERS: Final[Mapping[str, Callable[[Values, str], Any]]] = {
    "session_id": text,
    "ym_uid": digits,
    "yclid": digits,
    "user_id": text,
    "purchase_id": text,
    "goal_name": _goal,
    "goal_value": amount,
    "stage": text,
    "currency": currency,
    "order_id": text,
    "event_id": text,
}
# Read only for webhooks that upload orders, and only as hashes.
_CONTACTS: Final[Mapping[str, Callable[[Values, str], str | None]]] = {"email": email_md5, "phone": phone_md5}

FIELDS: Final = frozenset({*_READERS, *_CONTACTS, "occurred_at"})
_WITHOUT_CONTACTS: Final = FIELDS - _CONTACTS.keys()

_reported = constructor(Reported)

# A CRM's own fields of these names may hold anything; one that cannot be read is passed over, where another may do.
_PASSED_OVER: Final = (
    frozenset({"session_id", "ym_uid", "yclid", "user_id", "purchase_id", "currency", "occurred_at"}) | _CONTACTS.keys()
)
# Others than Metrika have client ids, too (Google, the CRM itself); Metrika's have 15 to 20 digits in practice.
CLIENT_ID: Final = "ClientID"
_LIKE_METRIKAS: Final = re.compile(r"\s*[1-9][0-9]{14,19}\s*")

_ZERO: Final = re.compile(r"\s*0*(?:[.,]0*)?\s*(?:\|\w*)?")

# Where each field usually is, in the order in which the places are tried.
Usual = Mapping[str, tuple[str, ...]]
# The same in forms and CRMs of any kind; Bitrix24 keeps several of each, amoCRM calls its fields so, too.
CONTACT_PLACES: Final[Usual] = {
    "email": ("email", "EMAIL.0.VALUE", "mail", "почта"),
    "phone": ("phone", "PHONE.0.VALUE", "tel", "телефон"),
}


def fields_read(*, contacts: bool) -> frozenset[str]:
    """Return the fields that are looked for; ``contacts`` where the webhook uploads orders."""
    return FIELDS if contacts else _WITHOUT_CONTACTS


def reported(
    values: Values, *, now: EpochMillis, payload: str | None = None, key: str | None = None, contacts: bool = False
) -> Reported:
    """Return the conversion that ``values`` (by goalpost's own names) describe.

    With ``contacts`` an e-mail and a phone become hashes. One that cannot be read costs no conversion that has a
    visitor without it: people write all sorts of things there.

    Raises:
        BadField: a field cannot be read.
    """
    found = {name: _READERS[name](values, name) for name in values if name in _READERS}
    event = _reported(**found, occurred_at=moment(values, "occurred_at", now=now), payload=payload, key=key)
    return _with_contacts(event, values) if contacts else event


def _with_contacts(event: Reported, values: Values) -> Reported:
    hashes: dict[str, str | None] = {}
    unreadable: BadField | None = None
    for name, read in _CONTACTS.items():
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


def collected(
    sheet: Sheet, fields: Mapping[str, str], usual: Usual, *, now: EpochMillis, contacts: bool = False
) -> dict[str, Any]:
    """Return what the sender says, by goalpost's own names; an e-mail and a phone only with ``contacts``.

    A field that the webhook has a place for is looked for only there; for others the usual places are tried.
    """
    places = {**usual, **CONTACT_PLACES}
    return {
        name: sheet.find(fields[name]) if name in fields else _usually(sheet, name, places.get(name, ()), now)
        for name in fields_read(contacts=contacts)
    }


def _usually(sheet: Sheet, name: str, places: tuple[str, ...], now: EpochMillis) -> Any:
    for place in places:
        value = sheet.find(place)
        if value is not None and _may_be(name, place, value, now):
            return value
    return None


def _may_be(name: str, place: str, value: Any, now: EpochMillis) -> bool:
    if name == "goal_value":
        # A CRM writes 0 where nobody has filled in the sum; then the rule's value holds.
        return place == name or _ZERO.fullmatch(str(value)) is None
    if name not in _PASSED_OVER:
        return True
    if place == CLIENT_ID and not _LIKE_METRIKAS.fullmatch(str(value)):
        return False
    try:
        if name == "occurred_at":
            return moment({name: value}, name, now=now) is not None
        return (_READERS.get(name) or _CONTACTS[name])({name: value}, name) is not None
    except BadField:
        return False
