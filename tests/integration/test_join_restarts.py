"""The join when it is stopped, killed, misconfigured or cut off: nothing is lost, and it says what is wrong."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports them without __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from runtime import kafka
from sandbox.stack import Addresses
from schemas.events import Conversion
from schemas.records import EVENT_ID_HEADER, header
from schemas.topics import CONVERSIONS, RAW, SESSIONS, topic_named
from tests.integration.join_world import Worker, World, eventually, working


@pytest.fixture(scope="module")
def world(stack: Addresses) -> World:
    return World(stack.kafka_bootstrap_servers, stack.schema_registry_url)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@contextmanager
def started(world: World, state_dir: Path, **settings: str) -> Iterator[Worker]:
    """A worker that need not become ready."""
    worker = Worker(world, state_dir, **settings)
    try:
        yield worker
    finally:
        worker.close()


def test_a_kill_in_the_middle_of_5000_events_loses_none(world: World, state_dir: Path) -> None:
    visits = [world.session(f"{uuid.uuid4()}") for _ in range(500)]
    world.visit(*visits)
    events = [world.event(session_id=visits[number % 500].session_id) for number in range(5000)]
    ids = [event.event_id for event in events]
    with working(world, state_dir) as worker:
        world.report(*events[:4000])
        eventually("the first conversions", lambda: len(world.records(CONVERSIONS.name, ids)) > 200)
        worker.kill()
    written_before = len(world.records(CONVERSIONS.name, ids))
    world.report(*events[4000:])
    with working(world, state_dir):
        converted = eventually("all conversions", lambda: _all(world, ids))
    row_of = {visit.session_id: visit.row_id for visit in visits}
    assert all(row_of[of.session_id or ""] == converted[of.event_id] for of in events)
    assert written_before < 5000, "the kill came too late to prove anything"


def _all(world: World, ids: list[str]) -> dict[str, str | None] | None:
    """The row of each event, once every event has one."""
    rows = {
        header(record.headers, EVENT_ID_HEADER) or "": world.conversions.decode(record.value).row_id
        for record in world.records(CONVERSIONS.name, ids)
    }
    return rows if set(rows) == set(ids) else None


def test_a_stop_finishes_what_is_in_hand_and_repeats_nothing(world: World, state_dir: Path) -> None:
    events = [world.event(yclid="1") for _ in range(2000)]
    ids = [event.event_id for event in events]
    with working(world, state_dir) as worker:
        world.report(*events)
        eventually("the first conversions", lambda: world.records(CONVERSIONS.name, ids))
        assert worker.terminate() == 0
        assert worker.logged("join.stopped")
    with working(world, state_dir):
        eventually("all conversions", lambda: _all(world, ids))
        after = world.event(yclid="1")
        world.report(after)
        world.conversion(after)
    times = Counter(header(record.headers, EVENT_ID_HEADER) for record in world.records(CONVERSIONS.name, ids))
    assert set(times.values()) == {1}


def test_what_waits_survives_a_kill_and_is_released_by_the_next_worker(world: World, state_dir: Path) -> None:
    event = world.event(session_id=str(uuid.uuid4()))
    with working(world, state_dir, GOALPOST_WAITING_DELAYS_SECONDS="6") as worker:
        world.report(event)
        eventually("waiting", lambda: world.records("crm.events.waiting", [event.event_id]))
        worker.kill()
    visit = world.session(event.session_id or "")
    world.visit(visit)
    with working(world, state_dir.with_name("another host's")):
        result = world.conversion(event)
    assert (result.row_id, result.attempts) == (visit.row_id, 1)


def test_what_went_ahead_gets_its_session_at_once_on_whichever_worker(world: World, state_dir: Path) -> None:
    """Uploaded after a second; its next delay would be over in ten minutes, but its session comes before."""
    settings = {"GOALPOST_WAITING_DELAYS_SECONDS": "1,600", "GOALPOST_SHORT_WAIT_SECONDS": "1"}
    patient = world.configure(session_wait="long")
    event = world.event(session_id=str(uuid.uuid4()), yclid="55")
    waits = world.event(session_id=str(uuid.uuid4()), yclid="55", webhook_id=patient.webhook_id)
    alone = world.event(session_id=str(uuid.uuid4()))
    with working(world, state_dir, **settings) as worker:
        world.report(event, waits, alone)
        ahead = world.conversion(event)
        assert (ahead.session_missing, ahead.yclid, ahead.attempts) == (True, "55", 1)
        eventually("the second delays", lambda: _in_second_delay(world, waits.event_id, alone.event_id))
        worker.kill()
    with working(world, state_dir.with_name("another host's"), **settings):
        visits = [
            world.session(one.session_id or "", ym_uid=str(number)) for number, one in enumerate((event, waits, alone))
        ]
        world.visit(*visits)
        _, late = eventually("the late session", lambda: _at_least(world, event.event_id, 2))
        assert (late.session_missing, late.row_id, late.client_id, late.yclid) == (False, visits[0].row_id, "0", "55")
        assert [world.conversion(one).row_id for one in (waits, alone)] == [visit.row_id for visit in visits[1:]]
    assert [len(world.records(CONVERSIONS.name, [one.event_id])) for one in (event, waits, alone)] == [2, 1, 1]


def _in_second_delay(world: World, *event_ids: str) -> bool:
    return all(len(world.records("crm.events.waiting", [event_id])) > 1 for event_id in event_ids)


def _at_least(world: World, event_id: str, count: int) -> list[Conversion] | None:
    found = [world.conversions.decode(record.value) for record in world.records(CONVERSIONS.name, [event_id])]
    return found if len(found) >= count else None


def test_an_output_that_kafka_refuses_ends_the_process_with_the_input_unacknowledged(
    world: World, state_dir: Path, stack: Addresses
) -> None:
    event = world.event(yclid="1", payload=json.dumps({"long": "x" * 5000}))
    with _tiny_records(stack, CONVERSIONS.name), working(world, state_dir) as worker:
        world.report(event)
        assert worker.process.wait(60) == 1
        (line,) = worker.logged("join.failed")
        assert CONVERSIONS.name in line["error"]
    with working(world, state_dir):
        assert world.conversion(event).yclid == "1"


@contextmanager
def _tiny_records(stack: Addresses, topic: str) -> Iterator[None]:
    admin = kafka.admin(stack.kafka_bootstrap_servers)

    def limit(value: str) -> None:
        entry = ConfigEntry("max.message.bytes", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(timeout=10)

    limit("300")
    try:
        yield
    finally:
        limit(topic_named(topic).config()["max.message.bytes"])


def test_a_state_of_another_partition_count_is_refused_with_the_remedy(world: World, state_dir: Path) -> None:
    with working(world, state_dir) as worker:
        assert worker.terminate() == 0
    named = state_dir / "worker-0" / "identity.json"
    named.write_text(json.dumps({**json.loads(named.read_text()), "partitions": 4}))
    with started(world, state_dir) as worker:
        assert worker.process.wait(60) == 1
        (line,) = worker.logged("join.failed")
        assert "Delete this folder" in line["error"]
        assert str(state_dir / "worker-0") in line["error"]


def test_it_waits_for_the_registry_and_says_so(world: World, state_dir: Path) -> None:
    with started(world, state_dir, SCHEMA_REGISTRY_URL="http://127.0.0.1:9") as worker:
        eventually("saying so", lambda: worker.logged("dependency.awaited"))
        status, body = worker.answer("/readyz")
        assert status == 503
        assert "registry" in json.loads(body)["waiting_for"]
        assert worker.terminate() == 0


def test_it_waits_for_kafka_and_says_so(world: World, state_dir: Path) -> None:
    with started(world, state_dir, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9") as worker:
        eventually("saying so", lambda: worker.logged("dependency.awaited"))
        assert "kafka" in json.loads(worker.answer("/readyz")[1])["waiting_for"]
        assert worker.terminate() == 0


def test_unusable_settings_are_all_named_before_anything_starts(world: World, state_dir: Path) -> None:
    with started(world, state_dir, GOALPOST_STREAM_PORT="none", GOALPOST_STAET_DIR="typo") as worker:
        assert worker.process.wait(60) == 2
        said = json.dumps(worker.log())
        assert "GOALPOST_STREAM_PORT" in said
        assert "GOALPOST_STAET_DIR" in said


def test_two_workers_share_the_partitions_and_one_takes_over_from_the_other(world: World, state_dir: Path) -> None:
    with working(world, state_dir) as first, working(world, state_dir) as second:
        eventually("sharing", lambda: _owned(first) and _owned(second) and not set(_owned(first)) & set(_owned(second)))
        before = [world.event(yclid=str(number)) for number in range(100)]
        world.report(*before)
        eventually("all conversions", lambda: _all(world, [event.event_id for event in before]))
        second.kill()
        after = [world.event(yclid=str(number)) for number in range(100)]
        world.report(*after)
        eventually("all conversions", lambda: _all(world, [event.event_id for event in after]))
        assert len(_owned(first)) == 8


def test_an_end_that_nobody_can_read_to_does_not_keep_it_from_working(world: World, state_dir: Path) -> None:
    """An open or aborted transaction leaves offsets behind the last record: Kafka says that there is no more."""
    name = f"join-test-{uuid.uuid4()}"
    writer = kafka.producer(world.bootstrap_servers, client_id=name, transaction=name)
    writer.init_transactions(30)
    writer.begin_transaction()
    for partition in range(8):
        writer.produce(SESSIONS.name, key=b"s:never", value=b"never committed", partition=partition)
    assert writer.flush(30) == 0
    with working(world, state_dir) as worker:
        event = world.event(yclid="1")
        world.report(event)
        world.conversion(event)
        assert worker.terminate() == 0
    writer.abort_transaction(30)
    with working(world, state_dir):
        pass


def _owned(worker: Worker) -> list[int]:
    assigned = worker.logged("state.assigned")
    return list(assigned[-1]["partitions"]) if assigned else []


def test_a_rebuilt_state_gives_the_same_answers(world: World, state_dir: Path) -> None:
    visit = world.session(str(uuid.uuid4()), ym_uid="424242")
    world.visit(visit)
    for directory in (state_dir, state_dir.with_name("empty")):
        with working(world, directory):
            event = world.event(session_id=visit.session_id)
            world.report(event)
            assert world.conversion(event).row_id == visit.row_id


def test_raw_records_of_a_foreign_producer_without_headers_are_joined(world: World, state_dir: Path) -> None:
    event = world.event(yclid="1")
    record = world.record_of(event)
    with working(world, state_dir):
        world.sender.send([type(record)(topic=RAW.name, key=None, value=record.value)])
        assert world.conversion(event).yclid == "1"
