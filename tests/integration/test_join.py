"""The join as a process against real Kafka and a real registry: what becomes of each kind of event."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from runtime import kafka
from sandbox.stack import Addresses
from schemas.events import GoalRule
from schemas.identity import visitor_key
from schemas.records import EVENT_ID_HEADER, Outgoing, header
from schemas.topics import CONVERSIONS, RAW, SESSIONS, TOPICS
from tests.integration.join_world import Worker, World, eventually, now, working


@pytest.fixture(scope="module")
def world(stack: Addresses) -> World:
    return World(stack.kafka_bootstrap_servers, stack.schema_registry_url)


@pytest.fixture(scope="module")
def worker(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with working(world, tmp_path_factory.mktemp("join") / "state") as started:
        yield started


pytestmark = pytest.mark.usefixtures("worker")


def fresh() -> str:
    """An id that only this test knows; digits only, as Metrika's are."""
    return str(uuid.uuid4().int)[:19]


def test_an_event_is_joined_with_the_session_that_it_names(world: World) -> None:
    visit = world.session(fresh(), ym_uid=fresh(), yclid="77")
    world.visit(visit)
    event = world.event(session_id=visit.session_id, order_id="deal 1")
    world.report(event)
    result = world.conversion(event)
    assert (result.row_id, result.client_id, result.yclid) == (visit.row_id, visit.ym_uid, "77")
    assert (result.order_id, result.target, result.currency) == ("deal 1", "crm_conversion", "RUB")
    assert (result.counter_id, result.metrika_counter_id) == (world.webhook.counter_id, 4711)


def test_an_event_waits_for_a_session_that_comes_later(world: World) -> None:
    event = world.event(session_id=fresh())
    world.report(event)
    eventually("waiting", lambda: world.records("crm.events.waiting", [event.event_id]))
    visit = world.session(event.session_id or "")
    world.visit(visit)
    result = world.conversion(event)
    assert result.row_id == visit.row_id
    assert result.attempts >= 1


def test_an_event_without_a_session_id_takes_the_visitors_last_session(world: World) -> None:
    visitor = fresh()
    last = world.session(fresh(), ym_uid=visitor, session_at=now())
    earlier = world.session(fresh(), ym_uid=visitor, session_at=now() - 86_400_000)
    world.visit(last, earlier)
    event = world.event(ym_uid=visitor)
    world.report(event)
    assert world.conversion(event).row_id == last.row_id


def test_an_older_session_that_arrives_late_does_not_stay_the_last_record_of_its_visitor(world: World) -> None:
    """Compaction keeps the last record, so the state of tomorrow would forget the newer session."""
    visitor = fresh()
    newer = world.session(fresh(), ym_uid=visitor, session_at=now())
    older = world.session(fresh(), ym_uid=visitor, session_at=now() - 86_400_000)
    world.visit(newer, older)

    def last_is_newer() -> bool:
        of_visitor = [record for record in world.everything(SESSIONS.name) if record.key == visitor_key(visitor)]
        assert len(of_visitor) <= 3, "it is put back once"
        return len(of_visitor) == 3 and world.sessions.decode(of_visitor[-1].value) == newer

    eventually("putting the newer session back", last_is_newer)


def test_a_session_that_never_comes_makes_a_replayable_letter(world: World) -> None:
    event = world.event(session_id=fresh())
    world.report(event)
    (letter,) = eventually("the dead letter", lambda: world.records(RAW.dead_letters, [event.event_id]))
    assert header(letter.headers, "dlq.error.class") == "session_not_found"
    assert header(letter.headers, "dlq.original.topic") == RAW.name
    assert world.raw.decode(letter.value) == event
    assert world.records(CONVERSIONS.name, [event.event_id]) == []


def test_an_unknown_session_falls_back_to_the_visitors_last_one(world: World) -> None:
    visit = world.session(fresh(), ym_uid=fresh())
    world.visit(visit)
    event = world.event(session_id=fresh(), ym_uid=visit.ym_uid)
    world.report(event)
    result = world.conversion(event)
    assert (result.row_id, result.session_missing) == (visit.row_id, False)
    sent = world.records(RAW.name, [event.event_id])
    (first_sent,) = (record for record in sent if record.key != visitor_key(visit.ym_uid or ""))
    assert (result.raw_partition, result.raw_offset) == (first_sent.partition, first_sent.offset)


def test_a_visitor_without_any_session_is_converted_and_marked(world: World) -> None:
    event = world.event(session_id=fresh(), ym_uid=fresh())
    world.report(event)
    result = world.conversion(event)
    assert result.session_missing
    assert (result.client_id, result.row_id, result.session_id) == (event.ym_uid, None, event.session_id)


def test_poison_is_dead_lettered_and_its_partition_goes_on(world: World) -> None:
    poisons = {
        "not avro": b'{"event": "json"}',
        "unknown schema id": b"\x00\x00\x0f\x42\x3f" + b"\x02" * 20,
        "truncated": world.raw.encode(world.event(yclid="1"))[:30],
        "empty": b"",
    }
    name = fresh()
    world.sender.send(
        [
            Outgoing(
                topic=RAW.name, key=b"poison", value=value, headers=((EVENT_ID_HEADER, f"{name} {kind}".encode()),)
            )
            for kind, value in poisons.items()
        ]
    )
    after = world.event(yclid="1")
    world.sender.send([Outgoing(topic=RAW.name, key=b"poison", value=world.raw.encode(after))])
    assert world.conversion(after).yclid == "1"
    letters = {
        (header(letter.headers, EVENT_ID_HEADER) or "").removeprefix(f"{name} "): letter
        for letter in world.records(RAW.dead_letters, [f"{name} {kind}" for kind in poisons])
    }
    assert {kind: letter.value for kind, letter in letters.items()} == poisons
    assert header(letters["unknown schema id"].headers, "dlq.error.class") == "schema_unknown"
    assert header(letters["truncated"].headers, "dlq.error.class") == "undecodable"
    assert all(letter.key == b"poison" for letter in letters.values())


def test_a_poisonous_session_is_dead_lettered_and_the_state_goes_on(world: World) -> None:
    key = visitor_key(fresh())
    world.sender.send([Outgoing(topic=SESSIONS.name, key=key, value=b"no session")])

    def letter() -> list[object]:
        return [record for record in world.everything(SESSIONS.dead_letters) if record.key == key]

    eventually("the dead letter", letter)
    visit = world.session(fresh(), ym_uid=key.decode()[2:])
    world.visit(visit)
    event = world.event(ym_uid=visit.ym_uid)
    world.report(event)
    assert world.conversion(event).row_id == visit.row_id


def test_a_change_of_a_webhook_takes_effect_without_a_restart(world: World) -> None:
    hook = world.configure()
    before = world.event(webhook_id=hook.webhook_id, yclid="1", stage="new stage")
    world.report(before)
    assert world.conversion(before).target == "crm_conversion"
    world.configure(
        webhook_id=hook.webhook_id,
        changed_at=hook.changed_at + 5,
        rules=(GoalRule(stage="new stage", goal="new_goal"),),
    )

    def applied() -> bool:
        event = world.event(webhook_id=hook.webhook_id, yclid="1", stage="new stage")
        world.report(event)
        result = world.conversion(event)
        return (result.target, result.rules_changed_at) == ("new_goal", hook.changed_at + 5)

    eventually("the new rule", applied)


def test_an_event_of_an_unknown_webhook_waits_for_its_configuration(world: World) -> None:
    webhook_id = str(uuid.uuid4())
    event = world.event(webhook_id=webhook_id, yclid="1")
    world.report(event)
    eventually("waiting", lambda: world.records("crm.events.waiting", [event.event_id]))
    world.configure(webhook_id=webhook_id, default_goal="late_goal")
    assert world.conversion(event).target == "late_goal"


def test_it_says_how_it_is(world: World, worker: Worker) -> None:
    status, body = worker.answer("/readyz")
    assert (status, json.loads(body)["waiting_for"]) == (200, {})
    assert worker.answer("/healthz")[0] == 200
    metrics = worker.answer("/metrics")[1]
    for name in ("join_sessions_stored", "join_events_waiting", 'join_events_total{result="resolved"}'):
        assert name in metrics


def test_no_topic_appears_that_is_not_in_the_registry_of_topics(stack: Addresses, worker: Worker) -> None:
    assert worker.logged("state.assigned")
    names = set(kafka.admin(stack.kafka_bootstrap_servers).list_topics(timeout=10).topics)
    assert not {name for name in names if "join" in name}
    assert {topic.name for topic in TOPICS} <= names


def test_its_log_names_no_visitor(world: World, worker: Worker) -> None:
    visitor = fresh()
    world.visit(world.session(fresh(), ym_uid=visitor))
    event = world.event(ym_uid=visitor)
    world.report(event)
    world.conversion(event)
    assert visitor not in json.dumps(worker.log())
    assert [line for line in worker.log() if line.get("level") == "error"] == []
