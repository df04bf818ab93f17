"""What the join has to know about its topics before it starts."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from runtime.failures import Fatal, Transient
from schemas.topics import CONVERSIONS, RAW, SESSIONS, WAITING, WEBHOOKS, Topic
from streams.state.folder import Identity

_SECONDS: Final = 10
_JOINED: Final[tuple[Topic, ...]] = (RAW, SESSIONS, WAITING, CONVERSIONS)
# The state is built from these two.
_SOURCES: Final[tuple[Topic, ...]] = (SESSIONS, WAITING)


def identity_of(client: AdminClient) -> Identity:
    """Return how many partitions the joined topics have, and which topics the state comes from.

    Raises:
        Transient: Kafka does not answer.
        Fatal: a topic is missing, or their partition counts differ, so that keys do not meet.
    """
    names = [topic.name for topic in (*_JOINED, WEBHOOKS)]
    try:
        described = client.describe_topics(TopicCollection(names), request_timeout=_SECONDS)
        topics = {name: future.result(timeout=_SECONDS) for name, future in described.items()}
    except (KafkaException, TimeoutError) as exc:
        raise _explained(exc) from exc
    counts = {topic.name: len(topics[topic.name].partitions) for topic in _JOINED}
    if len(set(counts.values())) > 1:
        raise Fatal(
            f"topics that are joined need the same number of partitions, found {counts}. See `goalpost topics check`."
        )
    return Identity(
        partitions=counts[RAW.name], topic_ids={topic.name: str(topics[topic.name].topic_id) for topic in _SOURCES}
    )


def _explained(error: Exception) -> Exception:
    reason = error.args[0] if error.args else error
    code = getattr(reason, "code", lambda: None)()
    if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
        return Fatal(f"the join's topics are not there ({reason}). Run `goalpost topics apply`.")
    return Transient(f"Kafka does not answer ({reason})")
