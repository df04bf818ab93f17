"""Whether what Kafka acknowledges is safe: copies of each partition, and how many of them must have a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from goalpost.cluster import admin, broker_calls
from goalpost.findings import Finding, bad, good
from goalpost.topics.cluster import topic_states
from runtime.sections import KafkaSettings
from schemas.topics import TOPICS

_CHECK: Final = "replicas"
_SECONDS: Final = 5.0
_MIN_ISR: Final = "min.insync.replicas"
# With that many copies one broker may be down, and an acknowledged record is still on two others.
_SAFE_COPIES: Final = 3
_SET: Final = "kafka-configs --alter --entity-type topics --entity-name {} --add-config min.insync.replicas={}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Of one topic: copies of its partitions, how many must be there for a write, and how many now are, at least."""

    topic: str
    factor: int
    required: int
    in_sync: int


def judged(found: Iterable[Copies]) -> Iterator[Finding]:
    """Say what is not safe; many topics with the same trouble are told once."""
    copies = list(found)
    troubles = [(one, trouble) for one in copies if (trouble := _trouble(one)) is not None]
    for (detail, remedy), count in Counter(trouble for _, trouble in troubles).items():
        topics = [one.topic for one, trouble in troubles if trouble == (detail, remedy)]
        others = f" and {count - 1} more topics" if count > 1 else ""
        yield bad(_CHECK, f"{topics[0]}{others}: {detail}", remedy.format(topics[0]))
    if not troubles:
        factors = sorted({(one.factor, one.required) for one in copies})
        said = "; ".join(f"{factor} copies, {required} for each write" for factor, required in factors)
        yield good(_CHECK, f"every partition is in sync ({said})")


def _trouble(one: Copies) -> tuple[str, str] | None:
    if one.required > one.factor:
        detail = f"{_MIN_ISR} is {one.required}, but there are {one.factor} copies: nothing can be written"
        return detail, f"{_SET.format('{}', max(one.factor - 1, 1))}, or add copies."
    if one.in_sync < one.required:
        detail = f"a partition has {one.in_sync} copies in sync, and {one.required} are required: it takes no records"
        return detail, "Bring the missing brokers back; the stages wait and go on by themselves."
    if one.in_sync < one.factor:
        return f"a partition has {one.in_sync} of {one.factor} copies in sync", "Bring the missing brokers back."
    if one.factor >= _SAFE_COPIES and one.required < _SAFE_COPIES - 1:
        detail = f"{_MIN_ISR} is {one.required} with {one.factor} copies: what one broker has alone is acknowledged"
        return detail, f"{_SET.format('{}', _SAFE_COPIES - 1)}"
    if one.factor >= _SAFE_COPIES and one.required == one.factor:
        detail = f"{_MIN_ISR} is {one.required} of {one.factor} copies: one broker that is down stops every write"
        return detail, f"{_SET.format('{}', one.factor - 1)}"
    return None


def replicas(settings: KafkaSettings) -> Iterator[Finding]:
    """Copies: enough for what acks=all promises, and all of them there."""
    client = admin(settings.bootstrap_servers)
    names = [topic.name for topic in TOPICS]
    with broker_calls():
        metadata = client.list_topics(timeout=_SECONDS).topics
    states = topic_states(client, names)
    yield from judged(
        Copies(
            topic=name,
            factor=state.replication,
            required=int(state.config.get(_MIN_ISR, "1")),
            in_sync=min((len(one.isrs) for one in metadata[name].partitions.values()), default=state.replication),
        )
        for name, state in states.items()
        if name in metadata
    )
