"""Goals as they stand in ``user_analytics``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

import orjson

from schemas.events import EpochMillis

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# The seed's word for goals that come from the CRM.
GOAL_SOURCE: Final = "crm_offline"


class Reached(Protocol):
    """A goal that was reached: what a conversion says of it, or its row."""

    @property
    def event_id(self) -> str:
        """The conversion's id."""

    @property
    def target(self) -> str:
        """Metrika's identifier of the goal."""

    @property
    def price(self) -> Decimal:
        """Its value."""

    @property
    def occurred_at(self) -> EpochMillis:
        """When it was reached."""


def goal_of(conversion: Reached) -> dict[str, Any]:
    """Return the goal as it stands in ``yandex_goals_triggered``: the seed's four fields and the event id.

    Raises:
        OverflowError: the conversion happened outside of the years 1 to 9999.
    """
    at = _EPOCH + timedelta(milliseconds=conversion.occurred_at)
    return {
        "goal": conversion.target,
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "value": orjson.Fragment(json_number(conversion.price)),
        "source": GOAL_SOURCE,
        "event_id": conversion.event_id,
    }


def json_number(value: Decimal) -> str:
    """Return ``value`` as a JSON number as a person writes it: 5000, not 5000.0000 or 5E+3."""
    return f"{value.normalize():f}"


def goals_by_row(conversions: Iterable[tuple[str, Reached]]) -> str:
    """Return a JSON object: row key to the list of its goals, in the order in which they happened.

    Raises:
        OverflowError: as :func:`goal_of`.
    """
    listed: dict[str, list[dict[str, Any]]] = {}
    for key, conversion in sorted(conversions, key=lambda pair: (pair[1].occurred_at, pair[1].event_id)):
        listed.setdefault(key, []).append(goal_of(conversion))
    return orjson.dumps(listed).decode()
