"""Dead letters and the journal of replays, from Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache, cached_property
from typing import Any, Final

from goalpost.cluster import record_at, records, spans
from goalpost.dead_letters.journal import Journal
from goalpost.dead_letters.letter import Letter, Selection, letter_of
from goalpost.dead_letters.remembered import Remembered
from goalpost.webhooks.published import configurations
from runtime.failures import Fatal, Transient
from runtime.registry import Registry
from schemas.codec import Undecodable
from schemas.contracts import CONTRACTS, WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.history import ORIGIN_TOPIC
from schemas.records import Incoming, header, whole_number
from schemas.topics import DEAD_LETTERS, IGNORED, REJECTED, REPLAYS, WEBHOOKS, topic_named

LETTER_TOPICS: Final = (REJECTED.name, *(topic.name for topic in DEAD_LETTERS))
# No letters, because nothing is wrong with them, but kept, shown, replayed and discarded in the same way.
IGNORED_TOPICS: Final = (IGNORED.name,)
KEPT_TOPICS: Final = (*LETTER_TOPICS, *IGNORED_TOPICS)

_CONTRACTS: Final = {contract.topic.name: contract for contract in CONTRACTS}


def letter_topic(name: str) -> str:
    """Return the dead-letter topic that ``name`` means: itself, or that of the topic so called.

    Raises:
        KeyError: goalpost has no such topic.
    """
    if name in KEPT_TOPICS:
        return name
    topic = topic_named(name)
    if topic.dead_letters not in LETTER_TOPICS:
        raise KeyError(name)
    return topic.dead_letters


def letters(
    bootstrap_servers: str, topics: Iterable[str], selection: Selection, *, group: str = ""
) -> Iterator[Letter]:
    """Yield the selected letters that are there now, oldest first within each topic.

    A stage that was killed between a letter and its offset writes the letter again, and two stages may refuse the same
    record; the letters have one id then, and only the first is yielded. ``group`` is as in ``goalpost.cluster``.

    Raises:
        goalpost.cluster.ClusterUnavailable: no answer.
    """
    met = Remembered()
    named = {"group": group} if group else {}
    for record in records(bootstrap_servers, topics, since_ms=selection.since_ms, **named):
        letter = letter_of(record)
        if selection.includes(letter) and met.add(letter.identity):
            yield letter


def count(bootstrap_servers: str, topics: Iterable[str], selection: Selection) -> int:
    """Return how many letters :func:`letters` has to look at.

    Raises:
        goalpost.cluster.ClusterUnavailable: no answer.
    """
    found = spans(bootstrap_servers, topics, since_ms=selection.since_ms)
    return sum(end - start for start, end in found.values())


def letter_at(bootstrap_servers: str, place: str) -> Letter:
    """Return the letter at ``topic:partition:offset``.

    Raises:
        ValueError: ``place`` is no such text, or not in a dead-letter topic.
        goalpost.cluster.NoRecord: nothing stands there.
        goalpost.cluster.ClusterUnavailable: no answer.
    """
    topic, *numbers = place.split(":")
    partition, offset = (whole_number(text) for text in numbers)
    if topic not in KEPT_TOPICS or partition is None or offset is None:
        raise ValueError(topic)
    return letter_of(record_at(bootstrap_servers, topic, partition, offset))


def journal(bootstrap_servers: str) -> Journal:
    """Return what earlier runs did.

    Raises:
        goalpost.cluster.ClusterUnavailable: no answer.
        runtime.failures.Fatal: ``goalpost topics apply`` has not created the journal yet.
    """
    return Journal(records(bootstrap_servers, [REPLAYS.name]))


class Configurations:
    """The webhooks as their topic has them when first asked."""

    def __init__(self, bootstrap_servers: str, registry: Registry) -> None:
        self._servers = bootstrap_servers
        self._registry = registry

    def get(self, webhook_id: str) -> Webhook | None:
        """Return a webhook's configuration, ``None`` where there is none.

        Raises:
            goalpost.cluster.ClusterUnavailable, runtime.registry.RegistryUnavailable: no answer.
        """
        return self._known.get(webhook_id)

    @cached_property
    def _known(self) -> dict[str, Webhook]:
        codec = self._registry.codec(WEBHOOK_CONFIGURATIONS)
        return configurations(records(self._servers, [WEBHOOKS.name]), codec)


class Decoder:
    """Reads values as fields; asks the registry for each of our schemas once."""

    def __init__(self, registry: Registry) -> None:
        self._codec = cache(registry.codec)

    def __call__(self, record: Incoming) -> dict[str, Any] | None:
        """Return a record's value as fields; of a dead letter, by the topic that it came from.

        ``None`` where it does not decode, or the registry cannot be asked, or does not have our schema.
        """
        came_from = header(record.headers, ORIGIN_TOPIC) if record.topic in LETTER_TOPICS else None
        contract = _CONTRACTS.get(came_from or record.topic)
        if contract is None or record.value is None:
            return None
        try:
            return asdict(self._codec(contract).decode(record.value))
        except (Undecodable, Transient, Fatal):
            return None
