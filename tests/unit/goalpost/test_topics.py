"""What differs between the registry of topics and a cluster, and what is left to a person."""

from __future__ import annotations

from dataclasses import replace

from goalpost.topics.commands import NotAdaptable
from goalpost.topics.plan import Aspect, Difference, TopicState, topic_differences
from schemas.topics import OUTCOMES, RAW, REJECTED, TOPICS, Topic

PARTITIONS = 8


def _as_registered(topic: Topic) -> TopicState:
    config = {**topic.config(), "segment.bytes": "1073741824"}
    return TopicState(partitions=topic.partition_count(PARTITIONS), replication=1, config=config)


def _differences(*, replication: int = 1, **changed: TopicState) -> list[Difference]:
    cluster = {topic.name: _as_registered(topic) for topic in TOPICS} | {
        name.replace("_", "."): state for name, state in changed.items()
    }
    return list(topic_differences(TOPICS, cluster, partitions=PARTITIONS, replication=replication))


def test_a_cluster_that_is_as_registered_has_no_differences() -> None:
    assert _differences() == []


def test_an_empty_cluster_lacks_every_topic_and_apply_can_make_them() -> None:
    found = list(topic_differences(TOPICS, {}, partitions=PARTITIONS, replication=1))

    assert [difference.subject for difference in found] == [topic.name for topic in TOPICS]
    assert {difference.aspect for difference in found} == {Aspect.TOPIC}
    assert not any(difference.remedy for difference in found)


def test_topics_of_others_are_left_alone() -> None:
    assert _differences(somebody_elses=TopicState(partitions=1, replication=1, config={})) == []


def test_a_setting_that_differs_is_adapted() -> None:
    state = _as_registered(RAW)
    changed = replace(state, config={**state.config, "retention.ms": "1000"})

    (found,) = _differences(crm_events_raw=changed)

    assert (found.aspect, found.setting, found.actual) == (Aspect.CONFIG, "retention.ms", "1000")
    assert found.remedy == ""


def test_a_joined_topics_partition_count_is_explained_and_never_changed() -> None:
    (found,) = _differences(crm_events_raw=replace(_as_registered(RAW), partitions=4))

    assert found.aspect is Aspect.PARTITIONS
    assert "GOALPOST_PARTITIONS=4" in found.remedy
    assert "join" in found.remedy


def test_every_other_partition_count_has_a_remedy_too() -> None:
    (few,) = _differences(crm_conversions_outcomes=replace(_as_registered(OUTCOMES), partitions=1))
    (many,) = _differences(crm_conversions_outcomes=replace(_as_registered(OUTCOMES), partitions=20))
    (fixed,) = _differences(crm_events_rejected=replace(_as_registered(REJECTED), partitions=3))

    assert "--partitions 8" in few.remedy
    assert "GOALPOST_PARTITIONS=20" in many.remedy
    assert "delete the topic" in fixed.remedy


def test_fewer_replicas_are_a_difference_and_more_are_not() -> None:
    more = replace(_as_registered(RAW), replication=5)

    found = _differences(replication=3, crm_events_raw=more)

    assert {difference.aspect for difference in found} == {Aspect.REPLICATION}
    assert RAW.name not in {difference.subject for difference in found}


def test_a_refusal_tells_every_difference_at_once() -> None:
    cluster = {topic.name: replace(_as_registered(topic), partitions=99) for topic in TOPICS}
    error = NotAdaptable(topic_differences(TOPICS, cluster, partitions=PARTITIONS, replication=1))

    assert all(topic.name in str(error) for topic in TOPICS)
    assert "Nothing was changed" in str(error)
