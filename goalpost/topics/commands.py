"""``goalpost topics``: make the cluster and the schema registry what ``schemas.topics`` says they are.

Nothing is ever deleted, and a repeat changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from goalpost.cluster import admin
from goalpost.console import json_option, print_json, say
from goalpost.topics.cluster import Report, adapt, create, register, schema_differences, topic_states
from goalpost.topics.plan import Aspect, Difference, topic_differences
from goalpost.topics.reading import read
from runtime.failures import Fatal
from runtime.sections import KafkaSettings
from runtime.settings import load
from schemas.topics import TOPICS


class NotAdaptable(Fatal):
    """The cluster has topics that only a person can change."""

    def __init__(self, differences: Iterable[Difference]) -> None:
        self.differences = tuple(differences)
        super().__init__("\n".join(str(difference) for difference in self.differences) + "\nNothing was changed.")


def apply(
    bootstrap_servers: str,
    registry_url: str,
    *,
    partitions: int,
    replication: int,
    report: Report = lambda _line: None,
) -> tuple[Difference, ...]:
    """Create what is missing, adapt what differs, register every schema; return what differed before.

    ``report`` receives one line per change.

    Raises:
        NotAdaptable: a partition count or a replication differs; nothing has been changed then.
        goalpost.cluster.ClusterUnavailable, runtime.registry.RegistryUnavailable: no answer; a repeat goes on
            from there.
        runtime.registry.Incompatible: the registry refuses a schema.
    """
    client = admin(bootstrap_servers)
    states = topic_states(client, [topic.name for topic in TOPICS])
    found = tuple(topic_differences(TOPICS, states, partitions=partitions, replication=replication))
    stuck = [difference for difference in found if difference.remedy]
    if stuck:
        raise NotAdaptable(stuck)
    missing = [topic for topic in TOPICS if topic.name not in states]
    create(client, missing, partitions=partitions, replication=replication, report=report)
    adapt(client, [difference for difference in found if difference.aspect is Aspect.CONFIG], report)
    schemas = schema_differences(registry_url)
    register(registry_url, schemas, report)
    return (*found, *schemas)


def check(bootstrap_servers: str, registry_url: str, *, partitions: int, replication: int) -> tuple[Difference, ...]:
    """Return every difference between the registry of topics and what is there, changing nothing.

    Raises:
        goalpost.cluster.ClusterUnavailable, runtime.registry.RegistryUnavailable: no answer.
    """
    client = admin(bootstrap_servers)
    states = topic_states(client, [topic.name for topic in TOPICS])
    found = topic_differences(TOPICS, states, partitions=partitions, replication=replication)
    return (*found, *schema_differences(registry_url))


@click.group()
def topics() -> None:
    """Kafka topics and their schemas: schemas/topics.py and schemas/avro say what they have to be."""


@topics.command("apply")
@json_option
def apply_command(as_json: bool) -> None:
    """Create missing topics, adapt differing settings, register every schema.

    Nothing is deleted and a repeat changes nothing. A partition count that differs is refused with the reason, before
    anything is changed. GOALPOST_PARTITIONS and GOALPOST_REPLICATION_FACTOR hold for new topics.
    """
    (settings,) = load(KafkaSettings)
    changed = apply(
        settings.bootstrap_servers,
        settings.schema_registry_url,
        partitions=settings.partitions,
        replication=settings.replication_factor,
        report=(lambda _line: None) if as_json else say,
    )
    if as_json:
        print_json(_content(changed))
    else:
        say(f"{len(TOPICS)} topics are as registered" + ("." if changed else "; nothing had to change."))


@topics.command("check")
@json_option
def check_command(as_json: bool) -> None:
    """Say every difference and exit with 1 if there is one; changes nothing."""
    (settings,) = load(KafkaSettings)
    found = check(
        settings.bootstrap_servers,
        settings.schema_registry_url,
        partitions=settings.partitions,
        replication=settings.replication_factor,
    )
    if as_json:
        print_json(_content(found))
    elif found:
        say("\n".join(str(difference) for difference in found))
    else:
        say(f"{len(TOPICS)} topics and their schemas are as registered.")
    if found:
        raise SystemExit(1)


topics.add_command(read)


def _content(differences: Iterable[Difference]) -> dict[str, Any]:
    return {"differences": [asdict(difference) for difference in differences]}
