"""The AsyncAPI 3.0 document of goalpost's topics: built from the topic registry, the Avro schemas and their examples.

Pure. Sources: AsyncAPI 3.0.0 specification; its Kafka bindings 0.5.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.contracts import CONTRACTS, Contract
from schemas.dead_letter import ErrorClass, Stage
from schemas.topics import CONVERSIONS, DEAD_LETTERS, DEFAULT_PARTITIONS, IGNORED, RAW, REJECTED, TOPICS, WAITING, Topic

Document = dict[str, Any]

# Values of Kafka's own, not of a schema, are said to be bytes.
_BYTES: Final = "application/octet-stream"
_AVRO: Final = "application/vnd.apache.avro+binary"
_AVRO_SCHEMA: Final = "application/vnd.apache.avro;version=1.9.0"
_KAFKA_BINDING: Final = "0.5.0"

_DESCRIPTION: Final = """\
What other teams can read of goalpost, and on what they can rely.

Values are Avro in the Confluent wire format: one zero byte, the schema's id in the registry as four big-endian bytes,
then the Avro body. Subjects are named <topic>-value and are BACKWARD_TRANSITIVE: a reader with today's schema reads
every older record. Delivery is at least once; event_id is the one id by which repeats are told apart.
Examples show decimals and bytes as text. Runnable consumers: docs/consumers.md.
"""

_EVENT_HEADERS: Final = {
    "event_id": "The id of the conversion, also inside the value.",
    "webhook_id": "The webhook that took it.",
}
_WAITING_HEADERS: Final = {
    "waiting.attempt": "Which delay this is, from 1.",
    "waiting.since": "Since when the event waits, epoch milliseconds.",
    "waiting.due": "When it is tried again, epoch milliseconds.",
    "waiting.raw.partition": "Where it stands in crm.events.raw.",
    "waiting.raw.offset": "As above.",
    "waiting.released": "Offset of the record of this partition that this one replaces.",
}
_IGNORED_HEADERS: Final = {
    "ignored": "Why something in the body is no conversion by the webhook's rules: other_stage, other_event.",
    "ignored.stage": "The stage that no rule names, where the body does not tell it.",
    "content-type": "Of the request.",
    "query": "Of the request, without secrets.",
    "received_at": "When it came, epoch milliseconds.",
    "delivery_key": "The sender's own name of the delivery.",
}
_LETTER_HEADERS: Final = {
    "dlq.id": "The letter's own id; the same failure told twice has the same id.",
    "dlq.original.topic": "Topic of the record that failed.",
    "dlq.original.partition": "Its partition.",
    "dlq.original.offset": "Its offset.",
    "dlq.original.timestamp": "Its timestamp, epoch milliseconds.",
    "dlq.stage": "Step that refused it: " + ", ".join(sorted(Stage)) + ".",
    "dlq.error.class": "Stable class to route on: " + ", ".join(sorted(ErrorClass)) + ".",
    "dlq.error.message": "For people; at most 1 024 bytes, without secrets or personal data.",
    "dlq.attempts": "How often it was tried.",
    "dlq.first.failed.at": "ISO-8601, UTC.",
    "dlq.last.failed.at": "ISO-8601, UTC.",
    "dlq.replay.count": "How often it was replayed.",
    "dlq.cut": "What of the record was too large to be kept: value, key or headers. Absent where all is kept.",
    "dlq.effects.done": "What had happened before it failed and must not happen again.",
    "__connect.errors.topic": "As Kafka Connect's dead-letter reporter names it.",
    "__connect.errors.partition": "As above.",
    "__connect.errors.offset": "As above.",
    "__connect.errors.exception.message": "As above.",
}


_HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    RAW.name: _EVENT_HEADERS,
    CONVERSIONS.name: _EVENT_HEADERS,
    WAITING.name: {**_EVENT_HEADERS, **_WAITING_HEADERS},
    **{topic.name: _LETTER_HEADERS for topic in (REJECTED, *DEAD_LETTERS)},
    IGNORED.name: _IGNORED_HEADERS,
}


def asyncapi(*, version: str, examples: Mapping[str, Iterable[Mapping[str, Any]]]) -> Document:
    """Return the document of goalpost ``version``; ``examples`` are the golden records by topic name."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "goalpost",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "KAFKA_BOOTSTRAP_SERVERS; the registry is at SCHEMA_REGISTRY_URL.",
                "variables": {"bootstrap": {"default": "localhost:9092"}},
                "bindings": {"kafka": {"schemaRegistryVendor": "confluent", "bindingVersion": "0.4.0"}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {f"read {topic.name}": _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {topic.name: _message(topic, list(examples.get(topic.name, ()))) for topic in TOPICS}
        },
    }


def _channel(topic: Topic) -> Document:
    retention = (
        "for ever, the last record of each key" if topic.compacted else f"{topic.retention_ms // 86_400_000} days"
    )
    return {
        "address": topic.name,
        "description": topic.purpose,
        "messages": {"record": {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partition_count(DEFAULT_PARTITIONS),
                "topicConfiguration": _configuration(topic),
                "bindingVersion": _KAFKA_BINDING,
            }
        },
        "x-key": topic.key,
        "x-ordering": topic.ordering,
        "x-repeats": topic.repeats,
        "x-retention": retention,
        "x-written-by": topic.produced_by,
        "x-read-by": list(topic.consumed_by),
    }


def _configuration(topic: Topic) -> Document:
    """The settings that AsyncAPI's binding knows, typed as it wants them; the others are the broker's business."""
    config = topic.config()
    return {
        "cleanup.policy": [config["cleanup.policy"]],
        "retention.ms": int(config["retention.ms"]),
        "max.message.bytes": int(config["max.message.bytes"]),
    }


def _operation(topic: Topic) -> Document:
    """What goalpost does with a topic, seen from its reader: every record there is one that goalpost sends."""
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{_pointer(topic.name)}"},
        "summary": topic.purpose,
        "messages": [{"$ref": f"#/channels/{_pointer(topic.name)}/messages/record"}],
    }


def _pointer(name: str) -> str:
    """A name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _message(topic: Topic, examples: list[Mapping[str, Any]]) -> Document:
    contract = next((one for one in CONTRACTS if one.topic is topic), None)
    names = _HEADERS.get(topic.name, {})
    message: Document = {
        "name": topic.name,
        "title": topic.purpose.partition(";")[0].rstrip("."),
        "contentType": _BYTES if contract is None else _AVRO,
        "bindings": {"kafka": _message_binding(topic, contract)},
    }
    if names:
        described = {name: {"type": "string", "description": text} for name, text in names.items()}
        message["headers"] = {"type": "object", "properties": described}
    if contract is not None:
        message["payload"] = {"schemaFormat": _AVRO_SCHEMA, "schema": json.loads(contract.schema_text)}
        message["examples"] = [
            {"name": example["name"], "summary": example["description"], "payload": example["record"]}
            for example in examples
        ]
    return message


def _message_binding(topic: Topic, contract: Contract[Any] | None) -> Document:
    binding: Document = {"key": {"type": "string", "description": topic.key}, "bindingVersion": _KAFKA_BINDING}
    if contract is not None:
        binding |= {
            "schemaIdLocation": "payload",
            "schemaIdPayloadEncoding": "confluent",
            "schemaLookupStrategy": "TopicNameStrategy",
        }
    return binding
