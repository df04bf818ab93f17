"""The golden requests as values, and what became of one in the form in which the files say it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from goalpost.webhooks.rules import parse_rule
from runtime.vault import hash_of
from schemas.events import RawEvent, Webhook
from schemas.records import Headers, header
from schemas.topics import IGNORED, REJECTED

FOLDER: Final = Path(__file__).parent
# Everything else of an event is the same for each, or is compared on its own.
_FIELDS: Final = (
    *("session_id", "ym_uid", "yclid", "user_id", "purchase_id", "goal_name", "goal_value", "stage", "currency"),
    *("order_id", "occurred_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One file."""

    name: str
    content: dict[str, Any]

    def __str__(self) -> str:
        return self.name

    @property
    def dialect(self) -> str:
        return str(self.content["webhook"]["dialect"])

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.content["request"]["headers"])

    @property
    def query(self) -> str:
        return str(self.content["request"].get("query", ""))

    @property
    def body(self) -> bytes:
        request = self.content["request"]
        return bytes.fromhex(request["body_hex"]) if "body_hex" in request else str(request["body"]).encode()

    @property
    def stored_body(self) -> bytes:
        """The body as it is stored."""
        stored = self.content.get("stored_body")
        return self.body if stored is None else str(stored).encode()

    def webhook(self, webhook_id: str, secret: str) -> Webhook:
        """Return the configuration that the request is made for."""
        configured = self.content["webhook"]
        return Webhook(
            webhook_id=webhook_id,
            counter_id=str(uuid.uuid5(uuid.NAMESPACE_URL, "counter of golden requests")),
            metrika_counter_id=10_000_001,
            name=self.name,
            dialect=self.dialect,
            secret_hashes=(hash_of(secret),),
            sealed_secrets=(),
            default_goal="crm_conversion",
            changed_at=0,
            rules=tuple(parse_rule(rule) for rule in configured.get("rules", ())),
            fields=configured.get("fields", {}),
        )


def golden() -> Iterator[Golden]:
    """Yield every file, by name."""
    for path in sorted(FOLDER.glob("*/*.json")):
        yield Golden(name=f"{path.parent.name}/{path.stem}", content=json.loads(path.read_text(encoding="utf-8")))


def told(status: int, answer: dict[str, Any], kept: Iterable[Headers]) -> dict[str, Any]:
    """Return what a sender was told and what was kept for it, as ``answer`` in the files."""
    classes = [header(headers, "dlq.error.class") for headers in kept]
    rejected = next((one for one in classes if one is not None), None)
    assert len([one for one in classes if one is not None]) <= 1
    assert ("rejected" in answer) is (rejected is not None)
    return {"status": status, "ignored": answer.get("ignored", 0), "rejected": rejected}


def seen(event: RawEvent, *, topic: str, key: bytes | None, event_key: str | None) -> dict[str, Any]:
    """Return an event as the files say it.

    ``event_key`` is what the file says that the id is made of: it is repeated where that is so.
    """
    made = event_key is not None and event.event_id == str(uuid.uuid5(uuid.UUID(event.webhook_id), event_key))
    values = {name: _written(name, getattr(event, name)) for name in _FIELDS}
    if event.occurred_at == event.received_at:
        values["occurred_at"] = None
    spoken = (key or b"").decode().replace(event.event_id, "<event id>").replace(event.webhook_id, "<webhook id>")
    found = {name: value for name, value in values.items() if value is not None}
    return {"topic": topic, "key": spoken, "event_key": event_key if made else None, "event": found}


def _written(name: str, value: Any) -> Any:
    if name == "occurred_at":
        return datetime.fromtimestamp(value / 1000, UTC).isoformat().replace("+00:00", "Z")
    return format(value.normalize(), "f") if name == "goal_value" and value is not None else value


def is_kept(topic: str) -> bool:
    """Whether a topic is one of bodies that could not be used, or of which something did not count."""
    return topic in (REJECTED.name, IGNORED.name)
