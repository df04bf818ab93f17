"""The leads in a body of amoCRM's, whichever of its shapes it has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from producers.dialects.lookup import Sheet

_LEADS: Final = ("leads", "lead")
_ACCOUNT: Final = "account"
_OTHERS: Final = frozenset(
    {"contacts", "companies", "customers", "task", "tasks", "unsorted", "message", "talk", "catalogs"}
)
# A lead that is made stands in a stage from then on; the Digital Pipeline's documentation writes "event" for any.
_MOVES: Final = frozenset({"status", "lead_status_changed", "lead_appeared_in_status"})
_ENTERING: Final = _MOVES | {"add", "event", "lead_added"}
# What else amoCRM tells of leads (amocrm.ru, "Webhooks format").
_ACTIONS: Final = frozenset({"status", "add", "event", "update", "delete", "restore", "responsible", "note"})
# The sender's own names are in it, and it stands in answers and letters.
_PLACE_LENGTH: Final = 80
_WIDGET: Final = "event.data"
_WIDGET_LEAD: Final = "2"
# Today's name and that of 2016; a widget's event has its own.
_CHANGED: Final = ("updated_at", "last_modified", "time")
_MADE: Final = ("created_at", "date_create")
# The place of a lead in a form, the index in it, and the field.
_INDEXED: Final = re.compile(r"(leads?\[[^\[\]]+\])\[(\d*)\]((?:\[[^\[\]]*\])+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """One lead and what has happened to it (``action``). ``place`` is where in the body it stands."""

    place: str
    action: str
    fields: Mapping[str, Any]
    account_fields: Mapping[str, Any]
    sheet: Sheet

    @property
    def number(self) -> str:
        return _scalar(self.fields.get("id"))

    @property
    def pipeline(self) -> str:
        return _scalar(self.fields.get("pipeline_id"))

    @property
    def status(self) -> str:
        return _scalar(self.fields.get("status_id"))

    @property
    def changed(self) -> str:
        """When the lead was changed, as written; empty in the short bodies."""
        return next((_scalar(self.fields[name]) for name in _CHANGED if name in self.fields), "")

    @property
    def moments(self) -> tuple[str, ...]:
        """The fields that may tell when it happened."""
        return ("occurred_at", *_CHANGED, *(_MADE if self.action == "add" else ()))

    @property
    def enters_stage(self) -> bool:
        """Whether the lead stands in its stage since this very event. An ``update`` may tell so by the former stage."""
        former = _scalar(self.fields.get("old_status_id"))
        return bool(self.status) and (self.action in _ENTERING or former not in ("", self.status))

    @property
    def fault(self) -> str | None:
        """Why this is no lead as amoCRM tells of one; what it means cannot be said then."""
        if not self.number:
            return "is no lead with a number"
        if self.action in _MOVES and not self.status:
            return "names no stage that the lead has moved to"
        if not self.place.startswith(_WIDGET) and self.action not in _ACTIONS:
            return "stands under no action of amoCRM's (add, update, status, ...)"
        return None


def set_apart(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give each lead of a form an index of its own, where one stands twice or is left empty: ``leads[add][][id]``.

    There a field of a lead that comes again begins the next lead.
    """
    times = Counter(name for name, _ in pairs)
    leads: dict[str, int] = {}
    seen: set[str] = set()
    named = []
    for name, value in pairs:
        place = _INDEXED.fullmatch(name)
        if place is None or (place[2] and times[f"{place[1]}[{place[2]}][id]"] < 2):
            named.append((name, value))
            continue
        entity, index, field = place.groups()
        at = f"{entity}[{index}]"
        if field.count("[") == 1 and f"{at}[{leads.get(at, 0)}]{field}" in seen:
            leads[at] = leads.get(at, 0) + 1
        lead = leads.get(at, 0)
        seen.add(f"{at}[{lead}]{field}")
        named.append((f"{entity}[{index}.{lead}]{field}", value))
    return named


def leads_of(content: Mapping[str, Any]) -> list[Lead]:
    """Return whatever stands where leads stand, of all actions and indices; :attr:`Lead.fault` says which are none."""
    account = content.get(_ACCOUNT)
    account_fields = account if isinstance(account, dict) else {}
    whole = Sheet(content)
    found = [
        _lead(f"{entity}.{action}{place}", action, fields, whole, account_fields)
        for entity in _LEADS
        for action, listed in _items(content.get(entity))
        for place, fields in _one_or_many(listed)
    ]
    return [*found, *_of_widget(content, whole)]


def speaks_of_others(content: Mapping[str, Any]) -> bool:
    """Whether the body is one of amoCRM's about something else than leads, and about nothing that is not known."""
    names = frozenset(content) - {_ACCOUNT}
    return bool(names) and names <= _OTHERS and all(isinstance(content[name], dict) for name in names)


def _lead(place: str, action: str, fields: Mapping[str, Any], whole: Sheet, account: Mapping[str, Any]) -> Lead:
    custom = dict(_custom_fields(fields))
    return Lead(
        place=place[:_PLACE_LENGTH],
        action=action,
        fields=fields,
        account_fields=account,
        sheet=Sheet(fields, custom, whole),
    )


def _of_widget(content: Mapping[str, Any], whole: Sheet) -> Iterator[Lead]:
    event = content.get("event")
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(data, dict):
        return
    if _scalar(data.get("element_type")) in ("", _WIDGET_LEAD):
        account = {"id": content.get("account_id"), "subdomain": content.get("subdomain")}
        fields = {**data, "time": event.get("time")}
        yield _lead(_WIDGET, _scalar(event.get("type_code")) or "event", fields, whole, account)


def _one_or_many(listed: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(listed, dict | list) or (isinstance(listed, dict) and "id" in listed):
        yield "", listed if isinstance(listed, dict) else {}
        return
    for index, fields in _items(listed):
        yield f"[{index}]", fields if isinstance(fields, dict) else {}


def _items(container: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(container, dict):
        return container.items()
    return [(str(index), item) for index, item in enumerate(container)] if isinstance(container, list) else ()


def _custom_fields(lead: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each custom field's first value under its number, its code and its name."""
    for group in ("custom_fields", "custom_fields_values"):
        for _, one in _items(lead.get(group)):
            if not isinstance(one, dict):
                continue
            values = [value for _, value in _items(one.get("values"))]
            first = values[0] if values else one.get("value")
            # Dates come as bare values where all others are objects with a value inside.
            value = first.get("value") if isinstance(first, dict) else first
            for name in ("name", "code", "id", "field_name", "field_code", "field_id"):
                if spoken := _scalar(one.get(name)):
                    yield spoken, value


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if type(value) is int else ""
