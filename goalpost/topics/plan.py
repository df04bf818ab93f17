"""How the topics of a cluster differ from the registry of topics: pure, from what the cluster says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.topics import Topic


class Aspect(StrEnum):
    """What can differ."""

    TOPIC = "topic"
    PARTITIONS = "partitions"
    REPLICATION = "replication"
    CONFIG = "config"
    SCHEMA = "schema"
    COMPATIBILITY = "compatibility"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """A topic as the cluster has it. ``replication`` is that of its least replicated partition."""

    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as registered. ``subject`` is a topic's or a schema subject's name.

    ``remedy`` says what a person must do; empty where ``goalpost topics apply`` does it.
    """

    subject: str
    aspect: Aspect
    expected: str
    actual: str
    setting: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        what = f"{self.subject}: {self.setting or self.aspect.value} is {self.actual}, not {self.expected}."
        return f"{what} {self.remedy or 'Run `goalpost topics apply`.'}"


def topic_differences(
    topics: Iterable[Topic], cluster: Mapping[str, TopicState], *, partitions: int, replication: int
) -> Iterator[Difference]:
    """Yield how ``cluster`` (by topic name) differs from ``topics``; what it has besides is nobody's business."""
    for topic in topics:
        state = cluster.get(topic.name)
        if state is None:
            yield Difference(subject=topic.name, aspect=Aspect.TOPIC, expected="there", actual="missing")
        else:
            yield from _shape_differences(topic, state, topic.partition_count(partitions), replication)
            yield from _config_differences(topic, state)


def _shape_differences(topic: Topic, state: TopicState, partitions: int, replication: int) -> Iterator[Difference]:
    if state.partitions != partitions:
        yield Difference(
            subject=topic.name,
            aspect=Aspect.PARTITIONS,
            expected=str(partitions),
            actual=str(state.partitions),
            remedy=_partitions_remedy(topic, state.partitions, partitions),
        )
    # More replicas than asked for are no fault: managed clusters often insist on three.
    if state.replication < replication:
        yield Difference(
            subject=topic.name,
            aspect=Aspect.REPLICATION,
            expected=f"at least {replication}",
            actual=str(state.replication),
            remedy="Move it with Kafka's kafka-reassign-partitions tool, or lower GOALPOST_REPLICATION_FACTOR.",
        )


def _partitions_remedy(topic: Topic, actual: int, expected: int) -> str:
    if topic.copartitioned:
        return (
            f"Set GOALPOST_PARTITIONS={actual} to keep it. Another count sends a visitor's events and sessions to "
            "different partitions, where the join would not find them: for that, drain the pipeline and create all "
            "joined topics anew."
        )
    if actual < expected:
        return f"Add partitions with kafka-topics --alter --topic {topic.name} --partitions {expected}."
    if topic.partitions is None:
        return f"Set GOALPOST_PARTITIONS={actual} to keep it; Kafka cannot take partitions away."
    return "Kafka cannot take partitions away: delete the topic when it is empty and apply again."


def _config_differences(topic: Topic, state: TopicState) -> Iterator[Difference]:
    for name, expected in topic.config().items():
        actual = state.config.get(name, "unset")
        if actual != expected:
            yield Difference(subject=topic.name, aspect=Aspect.CONFIG, setting=name, expected=expected, actual=actual)
