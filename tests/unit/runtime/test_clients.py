"""Every client of Kafka in the tree recovers the same way, because all are made in one place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime import kafka

_ROOT = Path(__file__).parents[3]
_STAGES = ("schemas", "runtime", "producers", "streams", "sinks", "goalpost", "sandbox")
_CLASSES = {"Consumer", "Producer", "AdminClient", "AIOConsumer", "AIOProducer", "AIOKafkaConsumer", "AIOKafkaProducer"}
# Made for one look each: a command that ends, and the sandbox's question whether its broker is up.
_SHORT_LIVED = {"goalpost/cluster.py", "sandbox/kafka.py"}


def _sources() -> Iterator[tuple[str, ast.Module]]:
    for stage in _STAGES:
        for path in sorted((_ROOT / stage).rglob("*.py")):
            yield str(path.relative_to(_ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def _called(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            names.add(node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", ""))
    return names


def test_clients_are_made_in_one_place() -> None:
    made = {path for path, tree in _sources() if _called(tree) & _CLASSES}
    assert made - _SHORT_LIVED == {"runtime/kafka.py"}


def test_no_process_asks_a_groups_coordinator_through_the_admin_client() -> None:
    """Unanswered in time, as by a frozen broker, such a question aborts the process (librdkafka 2.16)."""
    fatal = {"describe_consumer_groups", "list_consumer_group_offsets", "alter_consumer_group_offsets"}
    asking = {path for path, tree in _sources() if _called(tree) & fatal}
    assert {path for path in asking if not path.startswith("goalpost/")} == set()


def _consumer() -> object:
    return kafka.consumer("b:1", group="g", client_id="c")


def _producer() -> object:
    return kafka.producer("b:1", client_id="c")


def _admin() -> object:
    return kafka.admin("b:1")


@pytest.mark.parametrize(("kind", "make"), [("Consumer", _consumer), ("Producer", _producer), ("AdminClient", _admin)])
def test_each_kind_finds_its_brokers_again_and_looks_for_them_at_a_walk(
    kind: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(kafka, kind, lambda given, **_: options.update(given))
    make()
    assert options["metadata.recovery.strategy"] == "rebootstrap"
    assert 250 <= options["reconnect.backoff.ms"] <= options["reconnect.backoff.max.ms"] <= 1000
    assert options["metadata.recovery.rebootstrap.trigger.ms"] <= 60_000


def test_the_library_takes_these_options() -> None:
    kafka.admin("127.0.0.1:1")
