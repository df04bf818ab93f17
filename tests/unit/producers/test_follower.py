"""The directory's follower on a topic that a test writes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from producers.directory import EMPTY, Entry, index_of
from producers.follower import DirectoryFollower
from runtime.attention import Attention, Log
from runtime.failures import Fatal
from runtime.last_known import LastKnown
from runtime.vault import Vault, generate_key, hash_of
from schemas.codec import Codec
from schemas.contracts import WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.topics import WEBHOOKS
from tests.unit.producers.parts import WEBHOOK, WEBHOOK_CODEC, webhook
from tests.unit.runtime.messages import Message, end

VAULT = Vault(generate_key())
KEY = WEBHOOK.webhook_id.encode()


class Topic:
    """The compacted topic and its consumer in one; ``gap`` offsets at its end hold nothing any more.

    It says that it is at its end once after each of its records, unless it is ``mute``.
    """

    def __init__(self, *records: tuple[bytes, bytes | None], gap: int = 0, away: bool = False, name: str = "x") -> None:
        self.records = list(records)
        self.gap = gap
        self.away = away
        self.mute = False
        self.name = name
        self.read = 0
        self.said_end = -1
        self.closed = False

    def log(self) -> Log | None:
        ends = {0: len(self.records) + self.gap}
        return None if self.away else Log(topic_id=self.name, begins={0: 0}, ends=ends)

    def list_topics(self, name: str, timeout: float) -> SimpleNamespace:
        del timeout
        return SimpleNamespace(topics={name: SimpleNamespace(error=None, partitions={0: None})})

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, self.read or -1001) for one in partitions]

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert [partition.offset for partition in partitions] == [OFFSET_BEGINNING]
        self.read, self.said_end = 0, -1

    def consume(self, _count: int, timeout: float) -> list[Message]:
        del timeout
        if self.mute:
            time.sleep(0.001)
            return []
        new = [
            Message(self.read + place, *record, topic=WEBHOOKS.name)
            for place, record in enumerate(self.records[self.read :])
        ]
        self.read += len(new)
        behind = self.read + self.gap
        if not new and behind == self.said_end:
            time.sleep(0.001)
            return []
        self.said_end = behind
        return [*new, end(behind, WEBHOOKS.name)]

    def close(self) -> None:
        self.closed = True


@contextmanager
def following(
    topic: Topic,
    codec: Codec[Webhook] = WEBHOOK_CODEC,
    failures: list[Exception] | None = None,
    folder: Path | None = None,
) -> Iterator[DirectoryFollower]:
    seen = failures if failures is not None else []
    with TemporaryDirectory() as somewhere:
        follower = DirectoryFollower(
            lambda: topic,  # type: ignore[arg-type, return-value]  # a fake
            codec,
            VAULT,
            log=topic.log,
            attention=Attention(),
            last_known=LastKnown(folder or Path(somewhere)),
            on_failure=seen.append,
        )
        follower.start()
        yield from _followed(follower, topic, failures, seen)


def _followed(
    follower: DirectoryFollower, topic: Topic, failures: list[Exception] | None, seen: list[Exception]
) -> Iterator[DirectoryFollower]:
    try:
        yield follower
    finally:
        follower.stop()
        assert topic.closed or topic.away
        assert failures is not None or not seen


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def written(**changes: object) -> tuple[bytes, bytes]:
    configured = webhook(**changes)
    return configured.webhook_id.encode(), WEBHOOK_CODEC.encode(configured)


def test_the_directory_is_complete_when_the_topic_is_read_to_its_end() -> None:
    other = str(uuid.uuid4())
    with following(Topic(written(), written(webhook_id=other))) as follower:
        until(lambda: follower.index.complete)
        assert set(follower.index.by_id) == {WEBHOOK.webhook_id, other}


@pytest.mark.parametrize("topic", [Topic(), Topic(gap=3), Topic(written(), gap=1)])
def test_an_empty_topic_or_a_gap_at_its_end_is_no_obstacle(topic: Topic) -> None:
    with following(topic) as follower:
        until(lambda: follower.index.complete)
        assert len(follower.index.by_id) == len(topic.records)


def test_changes_and_removals_are_followed() -> None:
    topic = Topic(written())
    with following(topic) as follower:
        until(lambda: follower.index.complete)
        topic.records.append(written(secret_hashes=(hash_of("new"),)))
        until(lambda: hash_of("new") in follower.index.by_secret_hash)
        assert WEBHOOK.secret_hashes[0] not in follower.index.by_secret_hash
        topic.records.append((KEY, None))
        until(lambda: not follower.index.by_id)


def test_a_record_that_does_not_decode_leaves_the_older_one_in_force() -> None:
    not_a_uuid = WEBHOOK_CODEC.encode(webhook(webhook_id="shop"))
    with following(
        Topic(written(), (KEY, b"garbage"), (KEY, not_a_uuid), (b"other", b"\x00\x00\x00\x00\x09x"))
    ) as follower:
        until(lambda: follower.index.complete)
        assert set(follower.index.by_id) == {WEBHOOK.webhook_id}


def test_sealed_secrets_are_opened_for_signatures_and_a_lost_key_costs_only_those() -> None:
    lost = Vault(generate_key()).seal("lost")
    with following(Topic(written(sealed_secrets=(VAULT.seal("text!"), lost)))) as follower:
        until(lambda: follower.index.complete)
        assert follower.index.by_id[WEBHOOK.webhook_id].signing_keys == (b"text!",)


def test_it_waits_for_kafka_without_an_end() -> None:
    topic = Topic(written(), away=True)
    with following(topic) as follower:
        time.sleep(0.01)
        assert follower.index is EMPTY
        topic.away = False
        until(lambda: follower.index.complete)


def test_it_stops_while_it_waits_for_kafka() -> None:
    with following(Topic(away=True)):
        pass


def test_what_ends_the_thread_is_told() -> None:
    def unreachable(_schema_id: int) -> str:
        raise Fatal("the registry is another one now")

    failures: list[Exception] = []
    codec = WEBHOOK_CONFIGURATIONS.codec(schema_id=99, foreign_schema=unreachable)
    with following(Topic(written()), codec, failures):
        until(lambda: bool(failures))
    assert isinstance(failures[0], Fatal)


def test_a_start_without_kafka_knows_what_the_last_process_knew_and_then_what_kafka_says(tmp_path: Path) -> None:
    gone = str(uuid.uuid4())
    with following(Topic(written(), written(webhook_id=gone)), folder=tmp_path) as follower:
        until(lambda: follower.index.complete)
    later = Topic(written(), gap=1, away=True)
    with following(later, folder=tmp_path) as follower:
        until(lambda: follower.index is not EMPTY)
        assert (set(follower.index.by_id), follower.index.complete) == ({WEBHOOK.webhook_id, gone}, False)
        later.away = False
        until(lambda: follower.index.complete)
        assert set(follower.index.by_id) == {WEBHOOK.webhook_id}


def test_where_kafka_answers_nobody_asks_what_the_last_process_knew(tmp_path: Path) -> None:
    with following(Topic(written()), folder=tmp_path) as follower:
        until(lambda: follower.index.complete)
    with following(Topic((b"x", None)), folder=tmp_path) as follower:
        until(lambda: follower.index.complete)
        assert follower.index.by_id == {}


def test_a_webhook_with_the_same_secret_a_million_times_costs_a_moment() -> None:
    entries = [Entry(webhook=webhook(secret_hashes=("same",) * 1_000_000))]
    entries += [Entry(webhook=webhook(webhook_id=str(uuid.uuid4()), secret_hashes=("same",))) for _ in range(2_000)]
    began = time.process_time()

    index = index_of(entries)

    assert time.process_time() - began < 2
    assert len(index.by_secret_hash["same"]) == 2_001


def test_the_index_is_complete_only_at_the_end_however_long_a_client_gives_nothing() -> None:
    """A client that is silent while others are answered must not look like an empty topic."""
    topic = Topic(written())
    topic.mute = True
    with following(topic) as follower:
        time.sleep(0.1)
        assert follower.index is EMPTY
        topic.mute = False
        until(lambda: follower.index.complete)
        assert set(follower.index.by_id) == {WEBHOOK.webhook_id}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_topic_that_was_made_anew_takes_no_webhook_away_and_leaves_others_uncertain(
    tmp_path: Path, restarted: bool
) -> None:
    other = str(uuid.uuid4())
    topic = Topic(written(), written(webhook_id=other))
    with following(topic, folder=tmp_path) as follower:
        until(lambda: follower.index.complete)
        if not restarted:
            topic.records, topic.name = [], "another"
            until(lambda: not follower.index.complete)
            assert set(follower.index.by_id) == {WEBHOOK.webhook_id, other}
    anew = Topic(name="another")
    with following(anew, folder=tmp_path) as follower:
        until(lambda: bool(follower.index.by_id))
        assert (set(follower.index.by_id), follower.index.complete) == ({WEBHOOK.webhook_id, other}, False)
        anew.records += [written(secret_hashes=(hash_of("new"),)), (other.encode(), None)]
        until(lambda: follower.index.complete)
        assert set(follower.index.by_id) == {WEBHOOK.webhook_id}
        assert hash_of("new") in follower.index.by_secret_hash
    with following(anew, folder=tmp_path) as follower:
        until(lambda: follower.index.complete)
        assert set(follower.index.by_id) == {WEBHOOK.webhook_id}
