"""A person as a CRM names one: by an e-mail or a phone.

What was typed stays in this process: queries hold its hash only, and nothing of it is logged or stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from psycopg import sql

from producers.dialects.contacts import email_md5, phone_md5
from sinks.postgres.connection import Connection

_NATIONAL_DIGITS: Final = 10

# Wherever a CRM put it: any text of the payload that is the address, or the phone however it is written, as a whole.
# What is compared is Metrika's form of it (producers.dialects.contacts), hashed.
_EMAIL: Final = sql.SQL("md5(lower(btrim(part)))")
_PHONE: Final = sql.SQL(
    r"""
    CASE WHEN part ~ '^[-+0-9 ().\u2010-\u2015\u2212/]{7,32}$' THEN
        md5(CASE WHEN digits ~ '^8[0-9]{10}$' THEN '7' || substr(digits, 2)
                 WHEN digits ~ '^00' THEN substr(digits, 3)
                 ELSE digits END)
    END
    """
)
_NAMED: Final = sql.SQL(
    """
    SELECT id::text, session_id, client_id FROM webhook_conversions
    WHERE stage IS NOT NULL AND anonymised_at IS NULL AND ({column} = %(md5)s OR EXISTS (
        SELECT FROM jsonb_path_query(payload, 'lax $.**') AS held (value),
                    regexp_split_to_table(held.value #>> '{{}}', '[,;]') AS part,
                    regexp_replace(part, '[^0-9]', '', 'g') AS digits
        WHERE jsonb_typeof(held.value) IN ('string', 'number') AND {hashed} = %(md5)s))
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """An e-mail or a phone. ``written`` is how records may hold it, in lower case; never shown."""

    md5: str
    is_phone: bool
    written: frozenset[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The conversions that name the contact, and whose they are."""

    event_ids: frozenset[str]
    session_ids: frozenset[str]
    ym_uids: frozenset[str]


def by_email(address: str) -> Contact:
    """Return the contact that an e-mail address is.

    Raises:
        producers.fields.BadField: it is none.
    """
    md5 = email_md5({"--email": address}, "--email") or ""
    return Contact(md5=md5, is_phone=False, written=frozenset({address.strip().lower().encode()}))


def by_phone(number: str) -> Contact:
    """Return the contact that a phone with its country code is.

    Raises:
        producers.fields.BadField: it is none.
    """
    md5 = phone_md5({"--phone": number}, "--phone") or ""
    national = "".join(filter(str.isdigit, number))[-_NATIONAL_DIGITS:]
    return Contact(md5=md5, is_phone=True, written=frozenset({national.encode()}))


def named(connection: Connection, contact: Contact) -> Named:
    """Find the conversions that name ``contact``; reads all of the table that still holds personal data."""
    column, hashed = (sql.SQL("phone_md5"), _PHONE) if contact.is_phone else (sql.SQL("email_md5"), _EMAIL)
    rows = connection.execute(_NAMED.format(column=column, hashed=hashed), {"md5": contact.md5}).fetchall()
    return Named(
        event_ids=frozenset(str(row[0]) for row in rows),
        session_ids=frozenset(str(row[1]) for row in rows if row[1] is not None),
        ym_uids=frozenset(str(row[2]) for row in rows if row[2] is not None),
    )
