"""Watches a run from behind: letters of it that have come back, and whether it should go on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from confluent_kafka import Consumer, TopicPartition

from goalpost.cluster import broker_calls, reader
from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.plan import Action, Failed, Republish, ResetRow, Settle
from runtime import kafka

_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 1_000


class Returns:
    """Counts letters that arrive after this object was made and say that they were replayed by this run."""

    def __init__(self, bootstrap_servers: str, topics: Iterable[str], *, run_id: str) -> None:
        """Note where the topics end now.

        Raises:
            goalpost.cluster.ClusterUnavailable: no answer.
        """
        self._run_id = run_id
        self.count = 0
        with broker_calls():
            self._client: Consumer = reader(bootstrap_servers, f"goalpost-dlq-{run_id}")
            places = [
                TopicPartition(topic, one) for topic in topics for one in kafka.partitions_of(self._client, topic)
            ]
            for place in places:
                place.offset = self._client.get_watermark_offsets(place, timeout=_SECONDS)[1]
            self._client.assign(places)

    def look(self) -> int:
        """Take in what has arrived and return how many of this run's letters have come back so far."""
        with broker_calls():
            while messages := self._client.consume(_MOST_AT_ONCE, timeout=0):
                found = (letter_of(kafka.incoming(message)) for message in messages if message.error() is None)
                self.count += sum(letter.run_id == self._run_id for letter in found)
        return self.count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class Streak:
    """How many letters in a row could not be replayed. Pure."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed = 0

    def stops(self, actions: Iterable[Action], *, returned: int) -> str:
        """Take in what happened to a chunk; return why the run should end, or nothing.

        Letters that were not tried (skipped, blocked, untouched) say nothing either way.
        """
        for action in actions:
            if isinstance(action, Republish | ResetRow | Settle):
                self._failed = 0
            elif isinstance(action, Failed):
                self._failed += 1
                if self._failed >= self._limit:
                    return f"{self._failed} letters in a row could not be made into records"
        if returned >= self._limit:
            return f"{returned} letters of this run have come back: the cause is not mended"
        return ""
