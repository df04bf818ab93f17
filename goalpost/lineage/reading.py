"""What the topics know of an event: read from a time on, within bounded time, with or without the registry."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from goalpost.cluster import NoRecord, admin, broker_calls, record_at, records
from goalpost.dead_letters.reading import LETTER_TOPICS
from goalpost.lineage.answer import NotAsked
from goalpost.lineage.question import Place, Question
from goalpost.lineage.way import event_id_of, place_of
from runtime.failures import Fatal, Transient
from runtime.registry import Registry
from schemas.codec import Codec, Undecodable
from schemas.contracts import CONTRACTS, Contract
from schemas.history import ORIGIN_TOPIC
from schemas.records import Incoming, header
from schemas.topics import REJECTED, REPLAYS, WAITING, WEBHOOKS

# What a broker has to say that it is there; one that is stopped in the midst of its work says nothing at all.
_CONTACT_SECONDS: Final = 5.0
_CONTRACTS: Final = {contract.topic.name: contract for contract in CONTRACTS}

KAFKA, REGISTRY = "kafka", "registry"


class Decoder:
    """Reads values with the registry; once that does not answer, with the schemas of this version.

    So a record is still recognised, if it was written by the same version; ``not_asked`` says that others may not be.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._codecs: dict[str, Codec[Any]] = {}
        self.not_asked: NotAsked | None = None

    def fields(self, record: Incoming) -> dict[str, Any] | None:
        """Return the value's fields, ``None`` where it cannot be read."""
        came_from = header(record.headers, ORIGIN_TOPIC) if record.topic in LETTER_TOPICS else None
        contract = _CONTRACTS.get(came_from or record.topic)
        if contract is None or record.value is None:
            return None
        try:
            return asdict(self._codec(contract).decode(record.value))
        except Undecodable:
            return None
        except (Transient, Fatal) as exc:
            self._give_up(exc)
            return self.fields(record)

    def _codec(self, contract: Contract[Any]) -> Codec[Any]:
        name = contract.topic.name
        if name not in self._codecs:
            own = contract.codec(schema_id=0, foreign_schema=lambda _id: contract.schema_text)
            self._codecs[name] = own if self.not_asked else self._registry.codec(contract)
        return self._codecs[name]

    def _give_up(self, error: Exception) -> None:
        if self.not_asked is not None:  # the schemas of this version cannot fail like this
            raise error
        self._codecs.clear()
        self.not_asked = NotAsked(what=REGISTRY, why=str(error))


@contextmanager
def _noting(topics: Topics) -> Iterator[None]:
    """End the block at Kafka's first failure, and remember it."""
    try:
        yield
    except (Transient, Fatal) as exc:
        topics.not_asked = NotAsked(what=KAFKA, why=str(exc))


class Topics:
    """Kafka as the one who is asked: after its first failure it is not asked again, and what it has said stays."""

    def __init__(self, bootstrap_servers: str, *, until: float) -> None:
        """``until`` is the moment of the monotonic clock at which reading ends, however much is left."""
        self._servers = bootstrap_servers
        self._until = until
        self.not_asked: NotAsked | None = None

    def answers(self) -> bool:
        """Tell whether a broker is there; one that is not is waited for only shortly."""
        if self.not_asked is None:
            with _noting(self), broker_calls():
                admin(self._servers).list_topics(timeout=_CONTACT_SECONDS)
        return self.not_asked is None

    def webhook_ids(self) -> list[str]:
        """Return the ids of all webhooks that were ever published."""
        keys = (record.key for record in self.read([WEBHOOKS.name], since_ms=0))
        return sorted({key.decode("utf-8", "replace") for key in keys if key is not None})

    def at(self, place: Place) -> Incoming | str | None:
        """Return the record at ``place``, why there is none, or ``None`` where Kafka cannot be asked."""
        if self.answers():
            with _noting(self):
                try:
                    return record_at(self._servers, place.topic, place.partition, place.offset)
                except NoRecord as exc:
                    return str(exc)
        return None

    def read(self, topics: Iterable[str], *, since_ms: int) -> Iterator[Incoming]:
        """Yield records from ``since_ms`` on, as far as Kafka answers and time allows."""
        if not self.answers():
            return
        with _noting(self):
            for record in records(self._servers, topics, since_ms=since_ms):
                if time.monotonic() > self._until:
                    why = "there was no time to read all of its topics; say a later --since, or a longer --within"
                    self.not_asked = NotAsked(what=KAFKA, why=why)
                    return
                yield record

    def letter(self, topics: Iterable[str], letter_id: str, *, since_ms: int) -> Incoming | None:
        """Return the dead letter called ``letter_id``."""
        found = (one for one in self.read(topics, since_ms=since_ms) if header(one.headers, "dlq.id") == letter_id)
        return next(found, None)

    def by_event(
        self, topics: Iterable[str], wanted: Callable[[Incoming], str | None], *, since_ms: int
    ) -> dict[str, list[Incoming]]:
        """Group by event; the mark that ends a wait names no event, only the waiting record that it releases."""
        grouped: defaultdict[str, list[Incoming]] = defaultdict(list)
        waits: dict[tuple[int, str], str] = {}
        for record in self.read(topics, since_ms=since_ms):
            event_id = wanted(record)
            if record.topic == WAITING.name:
                released = (record.partition, header(record.headers, "waiting.released") or "")
                event_id = event_id if event_id is not None else waits.get(released)
                if event_id is not None:
                    waits[(record.partition, str(record.offset))] = event_id
            if event_id is not None:
                grouped[event_id].append(record)
        return dict(grouped)

    def marks(
        self, event_ids: Collection[str], letters: Mapping[str, str], *, since_ms: int
    ) -> dict[str, list[Incoming]]:
        """Return what became of letters, by event: those of ``event_ids``, and ``letters``, whose events it names."""
        found: defaultdict[str, list[Incoming]] = defaultdict(list)
        for mark in self.read([REPLAYS.name], since_ms=since_ms):
            event_id = event_id_of(mark)
            if event_id is None or event_id not in event_ids:
                event_id = letters.get((mark.key or b"").decode("utf-8", "replace"))
            if event_id is not None:
                found[event_id].append(mark)
        return dict(found)


class Wanted:
    """Which records belong to what was asked. An event that was recognised once is recognised by its header after."""

    def __init__(self, asked: Question, event_ids: Iterable[str], decoder: Decoder, *, by_value: bool) -> None:
        self._asked = asked
        self._event_ids = set(event_ids)
        self._decoder = decoder
        self._by_value = by_value

    def event_of(self, record: Incoming) -> str | None:
        """Return the event that ``record`` belongs to if it was asked for; the place of a body without an event."""
        event_id = event_id_of(record)
        if event_id is not None and event_id in self._event_ids:
            return event_id
        if not self._by_value or not self._names(record):
            return None
        if event_id is not None:
            self._event_ids.add(event_id)
        return event_id or (place_of(record) if record.topic == REJECTED.name else None)

    def _names(self, record: Incoming) -> bool:
        if record.key in self._asked.keys:
            return True
        if not self._asked.may_be_in(record.value):
            return False
        fields = self._decoder.fields(record)
        if fields is None:
            return record.topic == REJECTED.name and self._asked.is_written_in(record.value)
        return self._asked.is_named_in(fields)
