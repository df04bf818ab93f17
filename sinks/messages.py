"""What a poll of Kafka brought: a record, or an error in the shape of one."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, Message

from runtime.failures import Fatal
from runtime.logs import seldom

# No record comes from these before a person acts.
_HOPELESS: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "Run `goalpost topics apply`.",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Allow this client to read the topic.",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Allow this client to use its consumer group.",
}


def holds_record(message: Message) -> bool:
    """Return whether it is a record; an end is none, and an error that passes is said and left.

    Raises:
        Fatal: no record will come before a person acts.
    """
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError._PARTITION_EOF:
        return False
    remedy = _HOPELESS.get(error.code())
    if remedy is not None or error.fatal():
        raise Fatal(f"Kafka: {error.str()}. {remedy or 'Start the process again.'}")
    seldom("kafka.failed", dependency=error.name(), error=error.str())
    return False
