"""SQL over ``webhook_conversions`` that go to Metrika as CRM orders: which have to wait, and what their file says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final
from uuid import UUID

from psycopg import Connection

from sinks.metrika.orders import Order, Part

# A conversion that has neither of Metrika's identifiers; without a contact it has nothing at all.
NO_IDENTIFIER: Final = "coalesce(client_id, yclid, user_id, purchase_id) IS NULL"
# The list of an order's goals divides them by commas, and their amounts from them by colons.
UNFIT: Final = f"""
    {NO_IDENTIFIER} AND (coalesce(phone_md5, email_md5) IS NULL OR target ~ '[,:]' OR price < 0)
"""

# A conversion ``stored`` waits while a file of orders could not be sent, so that they gather, and while another one of
# the same order is on its way or comes first: the file of the later one has to say what the earlier one has said. It
# does not wait for one whose goal is held, perhaps for days: that one's own file will say everything again.
WAITS: Final = f"""
    {NO_IDENTIFIER} AND (
        EXISTS (SELECT FROM metrika_uploads AS upload
                WHERE upload.counter_id = stored.counter_id AND upload.id_type = 'Contact'
                  AND (upload.state = 'sending' OR (upload.state = 'prepared' AND upload.attempts > 0)))
        OR EXISTS (SELECT FROM webhook_conversions AS other
                   WHERE other.order_id = stored.order_id AND other.counter_id = stored.counter_id
                     AND coalesce(other.client_id, other.yclid, other.user_id, other.purchase_id) IS NULL
                     AND (other.stage = 'batched'
                          OR (other.stage = 'stored' AND other.status = 'pending'
                              AND (other.occurred_at, other.id) < (stored.occurred_at, stored.id)
                              AND NOT EXISTS (
                                  SELECT FROM metrika_goals AS held
                                  WHERE held.counter_id = other.counter_id AND held.target = other.target
                                    AND held.held_at IS NOT NULL))))
    )
"""  # noqa: S608 - constants only

# Metrika reads an order's time in the time zone of its counter; Moscow's is that of a new one in Russia.
# By pages, so that no transaction is open while a file is sent. With each conversion come those of its order that
# Metrika has already; the others wait for this file, so what is found stays the same until it is accepted.
_PAGE: Final = """
    SELECT own.upload_line, coalesce(own.order_id, own.id::text),
           to_timestamp(part.second) AT TIME ZONE coalesce(counter.time_zone, 'Europe/Moscow'),
           part.email_md5, part.phone_md5, part.target, part.price, part.currency
    FROM webhook_conversions AS own
    JOIN metrika_counters AS counter ON counter.id = own.counter_id
    CROSS JOIN LATERAL (
        SELECT own.id, own.upload_second AS second, own.email_md5, own.phone_md5, own.target, own.price, own.currency
        UNION ALL
        SELECT id, upload_second, email_md5, phone_md5, target, price, currency FROM webhook_conversions
        WHERE order_id = own.order_id AND counter_id = own.counter_id AND id <> own.id
          AND coalesce(client_id, yclid, user_id, purchase_id) IS NULL AND stage = 'uploaded'
    ) AS part
    WHERE own.upload = %(id)s AND own.upload_line > %(after)s AND own.upload_line <= %(after)s + %(rows)s
    ORDER BY own.upload_line, part.second, part.id
"""
_PAGE_ROWS: Final = 5000


def orders_of(connection: Connection, upload_id: UUID) -> Iterator[Order]:
    """Stream an upload's orders in the order of its lines."""
    after = 0
    while page := connection.execute(_PAGE, {"id": upload_id, "after": after, "rows": _PAGE_ROWS}).fetchall():
        for (_, order_id), rows in groupby(page, key=lambda row: row[:2]):
            yield Order(order_id, [Part(*row[2:]) for row in rows])
        after += _PAGE_ROWS
