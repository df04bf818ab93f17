"""How far the stages are behind, whether anybody reads at all, and how many dead letters nobody has looked after."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from goalpost.cluster import admin, broker_calls, reader
from goalpost.dead_letters import reading
from goalpost.dead_letters.letter import Selection
from goalpost.findings import Finding, bad, good, noted
from producers.fetching.__main__ import GROUP as FETCH_GROUP
from runtime import kafka
from runtime.sections import KafkaSettings
from schemas.topics import CONVERSIONS, JOIN_APP, POSTGRES_SINK_GROUP, RAW, SESSIONS, UNFETCHED

_SECONDS: Final = 5.0
# A broker that has just become the one for a group loads it first; on a cluster without any group it makes room first.
_COORDINATOR_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.3
_NO_COORDINATOR_YET: Final = frozenset(
    {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
)
# Group, its process, what it reads.
_GROUPS: Final = (
    (JOIN_APP, "goalpost stream", (RAW.name,)),
    (POSTGRES_SINK_GROUP, "goalpost sink postgres", (CONVERSIONS.name, SESSIONS.name)),
    (FETCH_GROUP, "goalpost fetch bitrix24", (UNFETCHED.name,)),
)
# Reading letters takes a second for each fifty thousand of them.
_MOST_LETTERS: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a group stands: its members, and how many records it has not committed; ``settled`` if it has its plan."""

    group: str
    process: str
    members: int
    behind: int
    settled: bool

    def finding(self) -> Finding:
        """Say it. A group without members and with work is a stage that does not run, whatever else says ready."""
        if self.members == 0 and self.behind > 0:
            detail = f"{self.group} has no member, and {self.behind} records wait for it"
            return bad("lag", detail, f"Start `{self.process}`; if it runs, restart it: it is not in its group.")
        if self.members == 0:
            return noted("lag", f"{self.group} has no member; nothing waits for it", f"`{self.process}` joins it.")
        state = "" if self.settled else ", and is being divided anew"
        return good("lag", f"{self.group} has {self.members} members, is {self.behind} records behind{state}")


def lag(settings: KafkaSettings) -> Iterator[Finding]:
    """Consumer groups: somebody reads, and how far they are behind."""
    client = admin(settings.bootstrap_servers)
    for group, process, topics in _GROUPS:
        with broker_calls():
            members, settled = _members(client, group)
        behind = _behind(settings.bootstrap_servers, group, topics)
        standing = Standing(group=group, process=process, members=members, behind=behind, settled=settled)
        yield standing.finding()


def _members(client: AdminClient, group: str) -> tuple[int, bool]:
    """Return how many members a group has, and whether it is settled; a group that never was has none."""
    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        answer = client.describe_consumer_groups([group], request_timeout=_SECONDS)[group]
        try:
            described = answer.result()
        except KafkaException as exc:
            code = exc.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return 0, True
            if code not in _NO_COORDINATOR_YET or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return len(described.members), described.state in (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY)


def _behind(bootstrap_servers: str, group: str, topics: tuple[str, ...]) -> int:
    """Return how many records lie behind what ``group`` has committed; all that are there where it has nothing."""
    behind = 0
    with broker_calls(), closing(reader(bootstrap_servers, group)) as client:
        places = [TopicPartition(topic, number) for topic in topics for number in kafka.partitions_of(client, topic)]
        for place in client.committed(places, timeout=_SECONDS):
            low, high = client.get_watermark_offsets(place, timeout=_SECONDS)
            behind += max(high - max(place.offset, low), 0)
    return behind


def letters(settings: KafkaSettings) -> Iterator[Finding]:
    """Dead letters: how many nobody has replayed or discarded yet."""
    servers, everything = settings.bootstrap_servers, Selection()
    there_are = reading.count(servers, reading.LETTER_TOPICS, everything)
    if there_are > _MOST_LETTERS:
        yield noted("letters", f"{there_are} records in dead-letter topics", "`goalpost dlq ls` counts them.")
        return
    journal = reading.journal(servers)
    found = reading.letters(servers, reading.LETTER_TOPICS, everything)
    waiting = Counter(letter.error_class for letter in found if journal.fate(letter.identity) is None)
    if not waiting:
        yield good("letters", "no dead letter waits")
        return
    classes = ", ".join(f"{count} {error_class}" for error_class, count in waiting.most_common(5))
    remedy = "`goalpost dlq ls` and `show` say why; mend the cause, then `goalpost dlq replay`."
    yield noted("letters", f"{waiting.total()} dead letters wait for somebody: {classes}", remedy)
