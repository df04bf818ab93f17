"""Whether Kafka answers."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from runtime.reachability import Reachability


def test_a_kafka_that_is_silent_for_a_while_is_an_obstacle_until_it_answers() -> None:
    """Frozen is worse than gone: no client says a word."""
    now, answers = 100.0, True

    def ask() -> None:
        if not answers:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    reachability = Reachability(ask, lambda: now)
    reachability.look()
    answers = False
    now += 4
    reachability.look()
    assert reachability.obstacles() == {}
    now += 3
    reachability.look()
    assert reachability.obstacles() == {"kafka": "no answer for 7 s"}
    answers = True
    reachability.look()
    assert reachability.obstacles() == {}
