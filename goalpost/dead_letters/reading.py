"""Dead letters and the journal of replays, from Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

from goalpost.cluster import record_at, records
from goalpost.dead_letters.journal import Journal, journal_of
from goalpost.dead_letters.letter import Letter, Selection, letter_of
from runtime.failures import Transient
from runtime.registry import Registry
from schemas.codec import Undecodable
from schemas.contracts import CONTRACTS
from schemas.records import Incoming, header
from schemas.topics import DEAD_LETTERS, REJECTED, REPLAYS, topic_named

LETTER_TOPICS: Final = (REJECTED.name, *(topic.name for topic in DEAD_LETTERS))

_CONTRACTS: Final = {contract.topic.name: contract for contract in CONTRACTS}


def letter_topic(name: str) -> str:
    """Return the dead-letter topic that ``name`` means: itself, or that of the topic so called.

    Raises:
        KeyError: goalpost has no such topic.
    """
    if name in LETTER_TOPICS:
        return name
    topic = topic_named(name)
    if topic.dead_letters not in LETTER_TOPICS:
        raise KeyError(name)
    return topic.dead_letters


def letters(bootstrap_servers: str, topics: Iterable[str], selection: Selection) -> Iterator[Letter]:
    """Yield the selected letters that are there now, topic by topic, oldest first within one.

    Raises:
        goalpost.cluster.ClusterUnavailable: no answer.
    """
    for topic in topics:
        for record in records(bootstrap_servers, [topic], since_ms=selection.since_ms):
            letter = letter_of(record)
            if selection.includes(letter):
                yield letter


def letter_at(bootstrap_servers: str, place: str) -> Letter | None:
    """Return the letter at ``topic:partition:offset``; ``None`` where nothing stands there (any more).

    Raises:
        ValueError: ``place`` is no such text, or not in a dead-letter topic.
        goalpost.cluster.ClusterUnavailable: no answer.
    """
    topic, partition, offset = place.split(":")
    if topic not in LETTER_TOPICS:
        raise ValueError(topic)
    record = record_at(bootstrap_servers, topic, int(partition), int(offset))
    return None if record is None else letter_of(record)


def journal(bootstrap_servers: str) -> Journal:
    """Return what earlier replays did.

    Raises:
        goalpost.cluster.ClusterUnavailable: no answer.
        runtime.failures.Fatal: ``goalpost topics apply`` has not created the journal yet.
    """
    return journal_of(records(bootstrap_servers, [REPLAYS.name]))


def decoded(record: Incoming, registry: Registry) -> dict[str, Any] | None:
    """Return a record's value as fields; of a dead letter, by the topic that it came from.

    ``None`` where it does not decode, or the registry cannot be asked.
    """
    contract = _CONTRACTS.get(header(record.headers, "dlq.original.topic") or record.topic)
    if contract is None or record.value is None:
        return None
    try:
        return asdict(registry.codec(contract).decode(record.value))
    except (Undecodable, Transient):
        return None
