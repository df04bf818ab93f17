"""CRM orders: what Metrika is told of conversions that name a person only by a phone or an e-mail. Pure.

Source: Metrika API documentation, "Uploading simplified data about customers and orders (CSV)", "Order and customer
data format", "Data upload modes". A file is uploaded with ``merge_mode=SAVE``: what it says of an order replaces all
that was said before. So every file says everything of its orders, and may be sent again without harm. Of several lines
of one order in one file any might be applied last, so an order is in a file once (``tables.orders``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sinks.metrika.csv_text import amount, cell, in_chunks

_HEAD: Final = "id,create_date_time,emails_md5,phones_md5,order_status,revenue,currency,goals"
_TIME: Final = "%Y-%m-%d %H:%M:%S"
# A conversion is something that was reached; Metrika's goals "order created" and "order paid" are reached with it.
_STATUS: Final = "PAID"


class Part(NamedTuple):
    """What one conversion says of its order. ``at`` is in the counter's time zone, which it does not name itself."""

    at: datetime
    email_md5: str | None
    phone_md5: str | None
    target: str
    price: Decimal | None
    currency: str | None


class Order(NamedTuple):
    """An order as its conversions describe it, the earliest first."""

    id: str
    parts: Sequence[Part]


def csv_chunks(orders: Iterable[Order]) -> Iterator[bytes]:
    """Yield the file in pieces."""
    return in_chunks(_lines(orders))


def _lines(orders: Iterable[Order]) -> Iterator[str]:
    yield _HEAD
    for order in orders:
        yield ",".join(map(cell, _cells(order)))


def _cells(order: Order) -> tuple[str, ...]:
    parts = order.parts
    last = _worth(parts)
    return (
        order.id,
        # The first: Metrika does not let it be changed.
        parts[0].at.strftime(_TIME),
        _each_once(part.email_md5 for part in parts),
        _each_once(part.phone_md5 for part in parts),
        _STATUS,
        amount(last.price),
        last.currency or "",
        _goals(parts, last.currency),
    )


def _worth(parts: Sequence[Part]) -> Part:
    """Return the last part that says what the order is worth: one without a sum does not make it worthless."""
    return next((part for part in reversed(parts) if part.price), parts[-1])


def _goals(parts: Sequence[Part], currency: str | None) -> str:
    """Return the goals with their amounts; a goal without one would be given the order's revenue.

    An order has one currency, so an amount in another one is left out, with its goal.
    """
    reached: dict[str, Decimal] = {}
    for part in parts:
        if not part.price or part.currency == currency:
            reached[part.target] = part.price or reached.get(part.target, Decimal(0))
    return ",".join(f"{target}:{amount(price)}" for target, price in reached.items())


def _each_once(hashes: Iterable[str | None]) -> str:
    return ",".join(dict.fromkeys(found for found in hashes if found))
