"""Who a conversion belongs to and what it is called: Kafka keys and event ids."""

from __future__ import annotations

import uuid
from typing import Final

import uuid_utils

from schemas.events import RawEvent
from schemas.records import Incoming

SESSION_PREFIX: Final = "s:"
VISITOR_PREFIX: Final = "u:"
EVENT_PREFIX: Final = "e:"
DEAL_PREFIX: Final = "d:"


def session_key(session_id: str) -> bytes:
    """Key of a session's own record."""
    return f"{SESSION_PREFIX}{session_id}".encode()


def visitor_key(ym_uid: str) -> bytes:
    """Key of a visitor's last session."""
    return f"{VISITOR_PREFIX}{ym_uid}".encode()


def event_key(event: RawEvent) -> bytes:
    """Key of an event: by session, else by visitor, else by itself. Equal keys share a partition with the session."""
    if event.session_id is not None:
        return session_key(event.session_id)
    if event.ym_uid is not None:
        return visitor_key(event.ym_uid)
    return f"{EVENT_PREFIX}{event.event_id}".encode()


def deal_key(event: RawEvent) -> bytes:
    """Key of a note that a deal has changed; a webhook belongs to one portal, so its id tells portals apart."""
    return f"{DEAL_PREFIX}{event.webhook_id}:{event.order_id}".encode()


def event_id_for(webhook_id: str, delivery_key: str) -> str:
    """Return the event id of a delivery that the sender identifies itself: the same again for every repeat.

    The id is namespaced by the webhook, so that one sender can neither guess nor block another's events.
    """
    return str(uuid_utils.uuid5(uuid_utils.UUID(webhook_id), delivery_key))


def row_id_for(session_id: str) -> str:
    """Return the ``user_analytics`` id of a session whose row goalpost itself creates (UUIDv5 of the session id)."""
    return str(uuid_utils.uuid5(uuid_utils.NAMESPACE_URL, f"goalpost:session:{session_id}"))


def letter_id_for(record: Incoming) -> uuid.UUID:
    """Return the id of a record's dead letter: from where it stands, so the same again when it is read again."""
    place = f"goalpost:letter:{record.topic}:{record.partition}:{record.offset}"
    return uuid.uuid5(uuid.NAMESPACE_URL, place)
