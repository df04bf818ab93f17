"""What the webhook service says of itself: who is turned away, what is only told, and when a restart is the cure."""

from __future__ import annotations

from dataclasses import dataclass, field

from producers.condition import Condition
from producers.directory import EMPTY, Index, index_of
from tests.unit.producers.parts import entry


@dataclass
class Parts:
    """All parts of the service, as far as they are asked."""

    webhooks: Index | None = field(default_factory=lambda: index_of([entry()]))
    full: bool = False
    spooled: dict[str, str] = field(default_factory=dict)
    kafka: dict[str, str] = field(default_factory=dict)
    idle: float = 0.0
    reader: str | None = None

    def notes(self) -> dict[str, str]:
        return dict(self.spooled)

    def idle_seconds(self) -> float:
        return self.idle

    def obstacle(self) -> str | None:
        return self.reader

    def standstill(self, after_seconds: float) -> str | None:
        return self.reader if after_seconds <= self.idle else None

    def condition(self) -> Condition:
        return Condition(
            registry=lambda: "the registry does not answer",
            index=lambda: self.webhooks,
            spool=self,
            requests=self,
            webhooks=self,
            kafka=lambda: self.kafka,
            stalled_seconds=300,
        )


AWAY = {"kafka": "no answer for 9 s"}


def test_all_well_is_said_in_no_words() -> None:
    condition = Parts().condition()
    assert (condition.obstacles(), condition.notes(), condition.standstill()) == ({}, {}, None)


def test_before_the_schemas_and_the_webhooks_are_known_nobody_is_sent_here() -> None:
    assert set(Parts(webhooks=None).condition().obstacles()) == {"schema registry"}
    assert set(Parts(webhooks=EMPTY).condition().obstacles()) == {"webhooks"}
    assert set(Parts(webhooks=EMPTY, kafka=AWAY).condition().obstacles()) == {"webhooks", "kafka"}


def test_webhooks_that_are_not_certain_are_told_and_those_known_are_taken() -> None:
    condition = Parts(webhooks=index_of([entry()], complete=False)).condition()
    assert condition.obstacles() == {}
    assert "503" in condition.notes()["webhooks"]


def test_kafka_away_is_told_while_the_spool_has_room_and_stands_in_the_way_when_it_has_none() -> None:
    parts = Parts(kafka=AWAY, spooled={"spool": "7 records wait for Kafka"})
    assert parts.condition().obstacles() == {}
    assert parts.condition().notes() == {**AWAY, "spool": "7 records wait for Kafka"}
    parts.full = True
    assert parts.condition().obstacles() == AWAY


def test_a_spool_that_does_not_empty_is_told_and_then_a_standstill() -> None:
    parts = Parts(idle=20)
    assert "20 s" in parts.condition().notes()["requests"]
    assert parts.condition().standstill() is None
    parts.idle = 301
    assert "301 s" in (parts.condition().standstill() or "")


def test_changes_of_webhooks_that_do_not_come_are_told() -> None:
    assert "changes do not come" in Parts(reader="for 9 s nothing has come").condition().notes()["webhooks"]
