"""Looks from outside whether each process has caught up: what it says of itself, and what Kafka says of its group."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import requests
from confluent_kafka import KafkaException, TopicPartition

from runtime import kafka
from sandbox.pipeline import Pipeline
from schemas.topics import CONVERSIONS, JOIN_APP, POSTGRES_SINK_GROUP, RAW

_SECONDS: Final = 3.0
_GROUPS: Final = {"stream": (JOIN_APP, RAW.name), "sink_postgres": (POSTGRES_SINK_GROUP, CONVERSIONS.name)}


class Look:
    """What keeps each process from having caught up; ``allowed`` are records of a group that are on their way."""

    def __init__(self, pipeline: Pipeline, *, allowed: int) -> None:
        self._pipeline = pipeline
        self._allowed = allowed
        self._servers = pipeline.addresses.kafka_bootstrap_servers

    @property
    def processes(self) -> list[str]:
        """Who is looked at."""
        return list(self._pipeline.health)

    def kafka_answers(self) -> bool:
        """Whether Kafka answers a client that has never seen it."""
        try:
            kafka.admin(self._servers).list_topics(RAW.name, timeout=_SECONDS)
        except KafkaException:
            return False
        return True

    def behind(self) -> dict[str, str]:
        """By process: what it waits for, or how much it has to read. One that has caught up is not named."""
        addresses = self._pipeline.health
        with ThreadPoolExecutor(len(addresses)) as pool:
            found = dict(zip(addresses, pool.map(_unready, addresses.values()), strict=True))
        for process, (group, topic) in _GROUPS.items():
            if found[process] is None:
                found[process] = self._lag(group, topic)
        return {process: problem for process, problem in found.items() if problem is not None}

    def _lag(self, group: str, topic: str) -> str | None:
        # Another client each time: it must not be this one that has lost its way.
        client = kafka.consumer(self._servers, group=group, client_id="look")
        try:
            places = [
                TopicPartition(topic, number)
                for number in client.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
            ]
            committed = client.committed(places, timeout=_SECONDS)
            behind = 0
            for one in committed:
                low, high = client.get_watermark_offsets(one, timeout=_SECONDS)
                behind += max(0, high - (one.offset if one.offset >= 0 else low))
        except (KafkaException, TypeError) as exc:
            return f"no answer about {group} ({type(exc).__name__})"
        finally:
            client.close()
        return None if behind <= self._allowed else f"{behind} records to read"


def _unready(address: str) -> str | None:
    try:
        page: dict[str, Any] = requests.get(f"{address}/readyz", timeout=_SECONDS).json()
    except (requests.RequestException, ValueError) as exc:
        return f"no answer ({type(exc).__name__})"
    notes = {name: text for name, text in page.get("notes", {}).items() if name in ("spool", "kafka", "requests")}
    return str(page["waiting_for"] or notes or "") or None
