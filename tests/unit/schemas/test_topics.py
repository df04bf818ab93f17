"""The topic registry: the promises that its topics' settings make true."""

from __future__ import annotations

import pytest

from schemas.topics import (
    CONVERSIONS,
    DEAD_LETTERS,
    OUTCOMES,
    RAW,
    REJECTED,
    SESSIONS,
    TOPICS,
    WAITING,
    WEBHOOKS,
    Topic,
    topic_named,
)

DAY_MS = 86_400_000


def test_the_names_are_the_ones_that_other_teams_know() -> None:
    assert {topic.name for topic in TOPICS} >= {
        "crm.events.raw",
        "web.sessions",
        "crm.conversions",
        "crm.events.waiting",
        "crm.conversions.outcomes",
        "crm.events.rejected",
        "crm.events.raw.dlq",
        "crm.conversions.dlq",
        "goalpost.webhooks",
    }


def test_no_name_is_used_twice() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)


def test_joined_topics_share_one_partition_count() -> None:
    joined = [topic for topic in TOPICS if topic.copartitioned]

    assert joined == [RAW, SESSIONS, CONVERSIONS, WAITING]
    assert {topic.partition_count(5) for topic in joined} == {5}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_what_is_state_stays_for_ever_and_what_is_a_log_does_not(topic: Topic) -> None:
    config = topic.config()

    assert (config["cleanup.policy"] == "compact") is (topic in (SESSIONS, WEBHOOKS))
    assert (config["retention.ms"] == "-1") is (topic in (SESSIONS, WEBHOOKS))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_record_that_one_topic_takes_fits_its_dead_letter_topic(topic: Topic) -> None:
    assert {other.config()["max.message.bytes"] for other in TOPICS} == {topic.config()["max.message.bytes"]}


def test_every_topic_that_goalpost_reads_has_a_dead_letter_topic() -> None:
    ours = {"producers", "streams", "sinks.postgres", "sinks.metrika", "goalpost fetch"}
    read = {topic.name for topic in TOPICS if ours & set(topic.consumed_by)}

    assert {f"{name}.dlq" for name in read} == {topic.name for topic in DEAD_LETTERS}


def test_dead_letters_outlive_the_records_that_they_point_to() -> None:
    assert all(letters.retention_ms >= RAW.retention_ms for letters in (*DEAD_LETTERS, REJECTED))
    assert all(letters.retention_ms >= 30 * DAY_MS for letters in (*DEAD_LETTERS, REJECTED))


def test_what_waits_is_kept_at_least_as_long_as_what_came_in() -> None:
    assert WAITING.retention_ms >= RAW.retention_ms


def test_a_topic_is_found_by_its_name() -> None:
    assert topic_named("crm.conversions.outcomes") is OUTCOMES
    with pytest.raises(KeyError):
        topic_named("crm.nothing")
