"""Uploads, and what Metrika lists: valid by default, override what matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sinks.metrika.answers import Uploading
from sinks.metrika.conversions import IdType
from sinks.metrika.ledger import State, Upload, token_for

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def upload(**over: Any) -> Upload:
    """An upload whose request was begun at noon."""
    values: dict[str, Any] = {
        "id": UUID(int=7),
        "id_type": IdType.CLIENT_ID,
        "token": token_for(UUID(int=7)),
        "state": State.SENDING,
        "row_count": 2,
        "body_sha256": "",
        "attempts": 1,
        "metrika_upload_id": None,
        "prepared_at": NOON,
        "sent_at": NOON,
        "answered_at": None,
        "metrika_status": None,
        "next_check_at": None,
        "target": "crm_conversion",
        "source": "generic",
    }
    return Upload(**{**values, **over})


def uploading(number: int = 101, **over: Any) -> Uploading:
    """What Metrika lists."""
    values: dict[str, Any] = {
        "id": str(number),
        "status": "UPLOADED",
        "comment": token_for(UUID(int=7)),
        "source_quantity": 2,
        "line_quantity": 2,
        "linked_quantity": 0,
        "goal_not_found_quantity": 0,
        "user_not_found_quantity": 0,
    }
    return Uploading(**{**values, **over})


def seconds_after(seconds: float) -> datetime:
    """A time after noon."""
    return NOON + timedelta(seconds=seconds)
