"""Reads from a round's topics what became of its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import TopicPartition

from runtime import kafka
from schemas.records import EVENT_ID_HEADER, Incoming, header
from schemas.topics import CONVERSIONS, RAW, WAITING
from streams.waiting import occasion_of
from tests.bench.records import Cluster
from tests.churn.accounting import Found, still_waiting
from tests.integration.join_world import World

_OUTPUTS: Final = (CONVERSIONS.name, WAITING.name, RAW.dead_letters)


@dataclass(frozen=True, slots=True)
class Reading:
    """The topics, and how far ``group`` has come with ``crm.events.raw``."""

    world: World
    group: str

    def committed(self) -> dict[int, int]:
        """The committed offset of each partition."""
        client = kafka.consumer(self.world.bootstrap_servers, group=self.group, client_id="churn")
        try:
            places = [TopicPartition(RAW.name, partition) for partition in kafka.partitions_of(client, RAW.name)]
            return {place.partition: max(0, place.offset) for place in client.committed(places, timeout=10)}
        finally:
            client.close()

    def progress(self) -> tuple[bool, Mapping[str, object]]:
        """Whether everything is committed, and figures that stay the same when nothing happens any more."""
        cluster, committed = Cluster(self.world.bootstrap_servers), self.committed()
        ends = {topic: cluster.ends(topic) for topic in _OUTPUTS}
        return committed == cluster.ends(RAW.name), {"committed": committed, **ends}

    def found(self) -> Found:
        """Read everything. Nothing may be working any more."""
        converted: dict[str, list[str | None]] = defaultdict(list)
        for record in self.world.everything(CONVERSIONS.name):
            conversion = self.world.conversions.decode(record.value)
            converted[conversion.event_id].append(conversion.row_id)
        committed = self.committed()
        # An event that has waited in vain is written once more, under its visitor's key; it still waits to be read.
        written_again = (
            record
            for record in self.world.everything(RAW.name)
            if record.offset >= committed[record.partition] and occasion_of(record).waiting_over
        )
        waiting = still_waiting(self.world.everything(WAITING.name))
        return Found(
            converted=converted,
            waiting=waiting | {_event_id(record) for record in written_again},
            dead=frozenset(_event_id(record) for record in self.world.everything(RAW.dead_letters)),
            committed=committed,
        )


def _event_id(record: Incoming) -> str:
    return header(record.headers, EVENT_ID_HEADER) or ""
