"""Where a sender that does not know goalpost's own fields keeps them: where its webhook says, else where it usually is.

A CRM's own fields of such names may hold anything. One that cannot be read is passed over, because another may do, and
is remembered: where none does, a person wants to know what was there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from producers.dialects.contract import CONTACTS, READERS, Collected, fields_read
from producers.dialects.lookup import Sheet
from producers.dialects.outcome import Submission
from producers.fields import BadField
from producers.money import money
from producers.times import FromFuture, moment

_PASSED_OVER: Final = frozenset({"session_id", "ym_uid", "yclid", "user_id", "purchase_id", "occurred_at"}) | (
    CONTACTS.keys()
)
# Others than Metrika have client ids, too (Google, the CRM itself); Metrika's have 15 to 20 digits in practice.
CLIENT_ID: Final = "ClientID"
_LIKE_METRIKAS: Final = re.compile(r"[1-9][0-9]{14,19}")

# Where each field usually is, in the order in which the places are tried.
Usual = Mapping[str, tuple[str, ...]]
# The same in forms and CRMs of any kind; Bitrix24 keeps several of each, amoCRM calls its fields so, too.
CONTACT_PLACES: Final[Usual] = {
    "email": ("email", "EMAIL.0.VALUE", "mail", "почта"),
    "phone": ("phone", "PHONE.0.VALUE", "tel", "телефон"),
}


def collected(sheet: Sheet, usual: Usual, submission: Submission) -> Collected:
    """Return what the sender says; an e-mail and a phone only where the submission counts them.

    A field that the webhook has a place for is looked for only there; for others the usual places are tried.
    """
    places = {**usual, **CONTACT_PLACES}
    fields = submission.fields
    values: dict[str, Any] = {}
    passed_over: list[BadField] = []
    for name in fields_read(contacts=submission.contacts):
        if name in fields:
            values[name] = sheet.find(fields[name])
        else:
            values[name] = _usually(sheet, name, places.get(name, ()), submission, passed_over)
    return Collected(values=values, passed_over=tuple(passed_over))


def _usually(
    sheet: Sheet, name: str, places: tuple[str, ...], submission: Submission, passed_over: list[BadField]
) -> Any:
    unreadable: BadField | None = None
    for place in places:
        value = sheet.find(place)
        if value is None:
            continue
        try:
            if _holds(name, place, value, submission):
                return value
        except BadField as exc:
            unreadable = unreadable or exc
    if unreadable is not None:
        passed_over.append(unreadable)
    return None


def _holds(name: str, place: str, value: Any, submission: Submission) -> bool:
    """Whether a usual place holds what it should.

    Raises:
        BadField: it holds something else.
    """
    if name == "goal_value":
        return place == name or _is_filled_in(value)
    if name not in _PASSED_OVER:
        return True
    if name == "occurred_at":
        try:
            return moment({name: value}, name, now=submission.received_at, zone=submission.zone) is not None
        except FromFuture:
            return True  # it is the time of the event all the same; that it is not believed, is said once
    try:
        found = (READERS.get(name) or CONTACTS[name])({name: value}, name)
    except BadField:
        if place == CLIENT_ID and isinstance(value, str):
            return False  # somebody else's
        raise
    return found is not None and (place != CLIENT_ID or _LIKE_METRIKAS.fullmatch(found) is not None)


def _is_filled_in(value: Any) -> bool:
    """A CRM writes 0 where nobody has filled in the sum; then the rule's value holds."""
    try:
        found = money({"": value}, "")
        return found is not None and found.amount != 0
    except BadField:
        return True  # to be refused by its name
