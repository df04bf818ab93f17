"""What ``goalpost topics`` asks of the broker and the schema registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports them without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from goalpost.cluster import broker_calls, cause_of
from goalpost.topics.plan import Aspect, Difference, TopicState
from runtime.failures import Fatal
from runtime.registry import Registry
from schemas.contracts import CONTRACTS
from schemas.topics import Topic

# A consumer of any age must read records of any age: topics are replayed from their beginning.
COMPATIBILITY: Final = "BACKWARD_TRANSITIVE"

_SECONDS: Final = 10.0

Report = Callable[[str], None]


def topic_states(client: AdminClient, names: Iterable[str]) -> dict[str, TopicState]:
    """Return what the cluster has of the topics called ``names``.

    Raises:
        goalpost.cluster.ClusterUnavailable: no answer.
    """
    with broker_calls():
        metadata = client.list_topics(timeout=_SECONDS).topics
        present = [name for name in names if name in metadata]
        configs = _configs(client, present)
    return {name: _state(metadata[name], configs[name]) for name in present}


def _configs(client: AdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not asked:
        return {}
    answers = client.describe_configs(asked, request_timeout=_SECONDS)
    return {
        resource.name: {entry.name: str(entry.value) for entry in answer.result().values()}
        for resource, answer in answers.items()
    }


def _state(topic: TopicMetadata, config: Mapping[str, str]) -> TopicState:
    replication = min((len(partition.replicas) for partition in topic.partitions.values()), default=0)
    return TopicState(partitions=len(topic.partitions), replication=replication, config=config)


def create(client: AdminClient, topics: list[Topic], *, partitions: int, replication: int, report: Report) -> None:
    """Create ``topics``; one that appeared meanwhile is as good.

    Raises:
        Fatal: the broker refuses one.
    """
    if not topics:
        return
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partition_count(partitions),
            replication_factor=replication,
            config=topic.config(),
        )
        for topic in topics
    ]
    for name, answer in client.create_topics(wanted, operation_timeout=_SECONDS).items():
        try:
            answer.result()
        except KafkaException as exc:
            # Two people may apply at once; whoever came first made the same topic.
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Fatal(f"{name}: the broker refuses to create it ({cause_of(exc)}).") from exc
        else:
            report(f"{name}: created")


def adapt(client: AdminClient, differences: list[Difference], report: Report) -> None:
    """Set the topic settings that ``differences`` name; others of the same topics stay as they are.

    Raises:
        Fatal: the broker refuses one.
    """
    changes: dict[str, list[ConfigEntry]] = {}
    for difference in differences:
        entry = ConfigEntry(difference.setting, difference.expected, incremental_operation=AlterConfigOpType.SET)
        changes.setdefault(difference.subject, []).append(entry)
    if not changes:
        return
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name, entries in changes.items()
    ]
    for resource, answer in client.incremental_alter_configs(resources, request_timeout=_SECONDS).items():
        try:
            answer.result()
        except KafkaException as exc:
            raise Fatal(f"{resource.name}: the broker refuses its configuration ({cause_of(exc)}).") from exc
    for difference in differences:
        report(f"{difference.subject}: {difference.setting} was {difference.actual}, is {difference.expected}")


def schema_differences(registry_url: str) -> tuple[Difference, ...]:
    """Return which schemas are not registered and which subjects have another compatibility rule.

    Raises:
        RegistryUnavailable: no answer.
    """
    found = []
    registry = Registry(registry_url)
    for contract in CONTRACTS:
        subject = contract.topic.subject
        rule = registry.compatibility(subject)
        if rule != COMPATIBILITY:
            found.append(_difference(subject, Aspect.COMPATIBILITY, expected=COMPATIBILITY, actual=rule or "unset"))
        if registry.id_of(subject, contract.schema_text) is None:
            found.append(_difference(subject, Aspect.SCHEMA, expected="registered", actual="not registered"))
    return tuple(found)


def _difference(subject: str, aspect: Aspect, *, expected: str, actual: str) -> Difference:
    return Difference(subject=subject, aspect=aspect, expected=expected, actual=actual)


def register(registry_url: str, differences: Iterable[Difference], report: Report) -> None:
    """Give the subjects in ``differences`` their compatibility rule and their schema.

    Raises:
        RegistryUnavailable: no answer.
        runtime.registry.Incompatible: the registry refuses a schema.
    """
    touched = {difference.subject for difference in differences}
    registry = Registry(registry_url)
    for contract in CONTRACTS:
        if contract.topic.subject not in touched:
            continue
        # The rule comes first, so that the registry checks this very schema against it.
        registry.require_compatibility(contract.topic.subject, COMPATIBILITY)
        schema_id = registry.register(contract.topic.subject, contract.schema_text)
        report(f"{contract.topic.subject}: registered with id {schema_id}, {COMPATIBILITY}")
