"""Which record type travels on which topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, TypeVar

import uuid_utils

from schemas.codec import Codec, SchemaText, schema_text
from schemas.decimals import Scale
from schemas.events import Conversion, GoalRule, Outcome, RawEvent, Session, Webhook
from schemas.topics import CONVERSIONS, OUTCOMES, RAW, SESSIONS, UNFETCHED, WAITING, WEBHOOKS, Topic

T = TypeVar("T")

# A webhook with two hundred rules has 10 000 bytes. Its lists become objects of some hundred bytes for a byte or two.
_WEBHOOK_LIMIT_BYTES: Final = 512 * 1024
# Of the rules inside a webhook; the codec itself only looks at a record's own fields.
_RULE_VALUE: Final = Scale(digits=18, scale=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract(Generic[T]):
    """A topic together with the type of its values; none of them has more than ``largest_bytes``."""

    topic: Topic
    record_type: type[T]
    largest_bytes: int | None = None
    to_record: Callable[[dict[str, Any]], T] | None = None
    to_fields: Callable[[T], dict[str, Any]] | None = None

    @property
    def schema_text(self) -> SchemaText:
        """The Avro schema of the topic's values as JSON text."""
        assert self.topic.schema is not None  # noqa: S101 - contracts exist only for topics with a schema
        return schema_text(self.topic.schema)

    def codec(self, *, schema_id: int, foreign_schema: Callable[[int], SchemaText]) -> Codec[T]:
        """Return the codec of this topic, given the registry's id of its schema."""
        return Codec(
            self.record_type,
            self.schema_text,
            schema_id=schema_id,
            foreign_schema=foreign_schema,
            largest_bytes=self.largest_bytes,
            to_record=self.to_record,
            to_fields=self.to_fields,
        )


class Unusable(ValueError):
    """The bytes are a webhook's by their schema, but no stage could work with what they say."""


def _webhook_from(values: dict[str, Any]) -> Webhook:
    uuid_utils.UUID(values["webhook_id"])  # event ids are derived from it
    limit = values["max_requests_per_second"]
    if limit is not None and limit <= 0:
        raise Unusable
    lists = {
        "secret_hashes": tuple(values["secret_hashes"]),
        "sealed_secrets": tuple(values["sealed_secrets"]),
        "rules": tuple(_rule_from(rule) for rule in values["rules"]),
    }
    return Webhook(**{**values, **lists})


def _rule_from(values: dict[str, Any]) -> GoalRule:
    value = values["value"]
    return GoalRule(**{**values, "value": None if value is None else _RULE_VALUE.unpacked(value)})


def _webhook_fields(webhook: Webhook) -> dict[str, Any]:
    values = asdict(webhook)
    return {
        **values,
        "secret_hashes": list(webhook.secret_hashes),
        "sealed_secrets": list(webhook.sealed_secrets),
        "rules": [
            {**asdict(rule), "value": None if rule.value is None else _RULE_VALUE.packed(rule.value)}
            for rule in webhook.rules
        ],
    }


RAW_EVENTS: Final = Contract(topic=RAW, record_type=RawEvent)
UNFETCHED_EVENTS: Final = Contract(topic=UNFETCHED, record_type=RawEvent)
WAITING_EVENTS: Final = Contract(topic=WAITING, record_type=RawEvent)
WEB_SESSIONS: Final = Contract(topic=SESSIONS, record_type=Session)
RESOLVED_CONVERSIONS: Final = Contract(topic=CONVERSIONS, record_type=Conversion)
CONVERSION_OUTCOMES: Final = Contract(topic=OUTCOMES, record_type=Outcome)
WEBHOOK_CONFIGURATIONS: Final = Contract(
    topic=WEBHOOKS,
    record_type=Webhook,
    largest_bytes=_WEBHOOK_LIMIT_BYTES,
    to_record=_webhook_from,
    to_fields=_webhook_fields,
)

CONTRACTS: Final[tuple[Contract[Any], ...]] = (
    RAW_EVENTS,
    UNFETCHED_EVENTS,
    WAITING_EVENTS,
    WEB_SESSIONS,
    RESOLVED_CONVERSIONS,
    CONVERSION_OUTCOMES,
    WEBHOOK_CONFIGURATIONS,
)
