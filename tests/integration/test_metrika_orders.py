"""Conversions that name a person only by a phone or an e-mail reach Metrika as CRM orders, each as it is now."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition

from goalpost.cli import main
from goalpost.webhooks.registration import webhooks
from producers.dialects import DIALECTS
from producers.raw_events import Delivery
from producers.taking import Taken, taken
from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import CONVERSION_OUTCOMES, RAW_EVENTS
from schemas.events import Conversion, Outcome, Session, Webhook
from schemas.topics import OUTCOMES
from sinks.postgres.rows import PlacedConversion
from sinks.postgres.writer import Writer
from streams.resolve import Occasion, Policy, Resolved, resolve
from tests.integration.metrika_world import World, end, eventually, world

EMAIL, PHONE = "3c56ff8fef0f6c65b36b2d25720fe276", "f09f2c3d48f31e2a802944ade2e5aec5"
FORM = "application/x-www-form-urlencoded"
# One delay, so that what waits for a session is decided at the second attempt.
POLICY = Policy(delays_ms=(1000,), deadline_margin_ms=0)

_STORE = """
    INSERT INTO webhook_conversions
        (id, webhook_id, counter_id, payload, status, stage, external_source, session_missing, phone_md5, target, price,
         currency, occurred_at, received_at, resolved_at, deadline_at, order_id)
    SELECT gen_random_uuid(), (SELECT id FROM offline_webhooks LIMIT 1), %(counter)s, '{}', 'pending', 'stored',
           'generic', TRUE, md5('7999' || n), %(target)s, %(price)s, %(currency)s,
           now() - make_interval(secs => %(ago)s), now(), now(), now() + interval '1 day', %(order)s || n
    FROM generate_series(1, %(count)s) AS n
    RETURNING id::text
"""


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def _store(here: World, count: int = 1, **over: Any) -> list[str]:
    """Store conversions of as many orders of people with a phone each."""
    values = {"counter": here.counter, "target": "sale", "price": 100.5, "currency": "RUB", "ago": 60, "order": "deal "}
    with here.connection.transaction():
        ids = [row[0] for row in here.connection.execute(_STORE, {**values, "count": count, **over})]
        here.connection.execute("NOTIFY goalpost_stored")
    return ids


def _orders(here: World) -> dict[str, dict[str, Any]]:
    """What the simulator knows, by order."""
    return {order["id"]: order for order in here.control("orders")["orders"]}


def _until_uploaded(here: World, count: int) -> None:
    eventually(lambda: here.stages()["uploaded"], lambda found: found == count)


def _hook(here: World, dialect: str) -> Webhook:
    """A webhook that uploads orders, as a person makes one."""
    made = here.admin(
        *("webhook", "add", "--counter", str(here.number), "--name", dialect),
        *("--dialect", dialect, "--orders", "--default-goal", "sale", "--json"),
    )
    webhook_id = json.loads(made)["webhook_id"]
    return next(one for one in webhooks(here.connection, here.vault)[0] if one.webhook_id == webhook_id)


def _joined(here: World, hook: Webhook, body: bytes, content_type: str, session: Session | None = None) -> Conversion:
    """Take a body through door and join, when all waiting is over."""
    now = int(datetime(2026, 3, 1, 10, 30, 5, tzinfo=UTC).timestamp() * 1000)
    codec = Registry(here.stack.schema_registry_url).codec(RAW_EVENTS)
    delivery = Delivery(
        webhook_id=hook.webhook_id,
        dialect=hook.dialect,
        received_at=now,
        body=body,
        content_type=content_type,
        query=None,
        key=None,
    )
    found = taken(delivery, (), hook, DIALECTS[hook.dialect], codec, new_id=uuid.uuid4)
    assert isinstance(found, Taken)
    (record,) = found.records
    occasion = Occasion(attempt=1, raw_partition=0, raw_offset=0)
    outcome = resolve(codec.decode(record.value), session, hook, occasion=occasion, policy=POLICY, now=now)
    assert isinstance(outcome, Resolved)
    return outcome.conversion


def _outcome(here: World, event_id: str) -> Outcome | None:
    codec = Registry(here.stack.schema_registry_url).codec(CONVERSION_OUTCOMES)
    client = kafka.consumer(here.stack.kafka_bootstrap_servers, group=f"test-{uuid.uuid4()}", client_id="test")
    try:
        ends = kafka.end_offsets(client, OUTCOMES.name, kafka.partitions_of(client, OUTCOMES.name))
        client.assign([TopicPartition(OUTCOMES.name, partition, 0) for partition in ends])
        for _ in range(sum(ends.values())):
            message = client.poll(5)
            if message is not None and message.key() == event_id.encode():
                return codec.decode(message.value())
        return None
    finally:
        client.close()


def test_a_phone_and_a_session_that_never_came_become_orders_in_the_counters_time(here: World) -> None:
    here.admin("counter", "change", str(here.number), "--time-zone", "Asia/Nowhere", status=1)
    here.admin("counter", "change", str(here.number), "--time-zone", "asia/yekaterinburg")
    form = urlencode({"tranid": "1:2", "Phone": "8 (999) 555-11-11", "payment[amount]": "1500"}).encode()
    lost = b'{"session_id": "gone", "email": "Mail@yandex.ru", "order_id": "deal, 7", "currency": "USD"}'
    of_form = _joined(here, _hook(here, "tilda"), form, FORM)
    of_json = _joined(here, _hook(here, "generic"), lost, "application/json")
    both = [
        PlacedConversion(conversion=one, partition=0, offset=offset) for offset, one in enumerate((of_form, of_json))
    ]
    assert Writer(here.connection).write(both).stored
    # Its day is a given one, so that the order's time can be compared.
    here.query("UPDATE webhook_conversions SET deadline_at = now() + interval '1 day' RETURNING id")
    with here.sink() as process:
        _until_uploaded(here, 2)
        eventually(lambda: here.value("SELECT count(*) FROM outcome_outbox"), lambda left: left == 0)
        assert end(process) == 0
    assert _orders(here)[of_form.event_id] == {
        "counter_id": here.number,
        "id": of_form.event_id,
        "create_date_time": "2026-03-01 15:30:05",
        "phones_md5": [PHONE],
        "order_status": "PAID",
        "revenue": "1500",
        "currency": "RUB",  # what Metrika understands where none is said
        "goals": ["sale:1500"],
        "deliveries": 1,
    }
    assert _orders(here)["deal, 7"]["emails_md5"] == [EMAIL]
    assert here.requests("orders") == {"200": 1}
    assert here.requests() == {}
    told = _outcome(here, of_form.event_id)
    assert told is not None
    assert (told.outcome, told.target) == ("accepted", "sale")
    traced = CliRunner().invoke(main, ["trace", "deal, 7"], env=here.environ)
    assert "as CRM orders, by phone or e-mail" in " ".join(traced.output.split())
    assert EMAIL not in traced.output
    assert json.loads(here.admin("webhook", "change", "tilda", "--no-orders", "--json"))["uploads_orders"] is False


def test_a_later_conversion_of_an_order_waits_for_the_earlier_one_and_repeats_what_it_said(here: World) -> None:
    _store(here, 3, target="lead", price=0, ago=120)
    _store(here, 3)
    with here.sink():
        _until_uploaded(here, 6)
    assert {tuple(order["goals"]) for order in _orders(here).values()} == {("lead:0", "sale:100.5")}
    assert {(order["deliveries"], order["revenue"]) for order in _orders(here).values()} == {(2, "100.5")}
    assert here.query("SELECT row_count, attempts FROM metrika_uploads ORDER BY prepared_at") == [(3, 1), (3, 1)]


def test_orders_that_cannot_be_said_fail_before_a_request_and_ordinary_conversions_are_not_touched(here: World) -> None:
    _store(here, order="good ")
    _store(here, target="a,b", order="comma ")
    _store(here, price=-5, order="refund ")
    here.store(2)
    with here.sink():
        eventually(here.stages, lambda found: found == {"uploaded": 1, "failed": 2, "processed": 2})
    assert list(_orders(here)) == ["good 1"]
    here.assert_each_once(2)
    sql = "SELECT DISTINCT error_class FROM webhook_conversions WHERE stage = 'failed'"
    assert here.query(sql) == [("event_invalid",)]


def test_orders_whose_answer_was_lost_are_sent_again_and_stay_what_they_are(here: World) -> None:
    for fault in ("cut_after_accept", "504", "malformed"):
        here.script(fault, match="orders")
    _store(here, 5)
    with here.sink():
        _until_uploaded(here, 5)
    assert here.query("SELECT state, attempts FROM metrika_uploads") == [("accepted", 4)]
    orders = _orders(here).values()
    assert [order["goals"] for order in orders] == [["sale:100.5"]] * 5
    assert {order["deliveries"] for order in orders} == {3}


def test_while_orders_fail_they_gather_and_conversions_go_on(here: World) -> None:
    here.script("504", match="orders", times=None)
    _store(here)
    with here.sink() as process:
        eventually(lambda: sum(here.requests("orders").values()), lambda asked: asked >= 2)
        here.store(2)
        eventually(lambda: here.stages()["processed"], lambda found: found == 2)
        _store(here, 2, order="later ")
        eventually(lambda: sum(here.requests("orders").values()), lambda asked: asked >= 3)
        assert here.stages() == {"processed": 2, "batched": 1, "stored": 2}
        process.kill()
    here.query("UPDATE metrika_uploads SET state = 'sending' WHERE id_type = 'Contact' RETURNING id")
    here.heal()
    with here.sink():
        _until_uploaded(here, 3)
    assert len(_orders(here)) == 3


def test_a_bad_order_is_isolated_and_the_others_uploaded(here: World) -> None:
    _store(here, 6)
    (bad,) = _store(here, currency="ROUBLES", order="bad ")
    with here.sink():
        eventually(here.stages, lambda found: found == {"uploaded": 6, "failed": 1})
    assert len(_orders(here)) == 6
    sql = "SELECT error_class, error_message FROM webhook_conversions WHERE id = %s"
    ((error_class, message),) = here.query(sql, bad)
    assert error_class == "metrika_rejected"
    assert "api_validation_status" in message
    assert here.value("SELECT price FROM webhook_conversions WHERE id = %s", bad) == Decimal("100.5")


def test_orders_expire_where_metrika_refuses_the_request_and_not_where_they_may_have_arrived(here: World) -> None:
    here.script("504", match="orders", times=None)
    _store(here)
    with here.sink():
        _overdue(here)
        asked = sum(here.requests("orders").values())
        eventually(lambda: sum(here.requests("orders").values()), lambda count: count > asked)
        assert here.stages() == {"batched": 1}
        here.heal()
        _until_uploaded(here, 1)

        here.script("forbidden", match="orders", times=None)
        _store(here, order="refused ")
        _overdue(here)
        eventually(here.stages, lambda found: found == {"uploaded": 1, "failed": 1})
    sql = "SELECT error_class FROM webhook_conversions WHERE stage = 'failed'"
    assert here.query(sql) == [("expired",)]


def _overdue(here: World) -> None:
    """Let the deadline of an order pass whose request has failed, and its next try be due."""
    eventually(
        lambda: here.value("SELECT count(*) FROM metrika_uploads WHERE state = 'prepared' AND error_message <> ''"),
        lambda failed: failed == 1,
    )
    here.query("UPDATE webhook_conversions SET deadline_at = now() WHERE stage = 'batched' RETURNING id")
    here.query("UPDATE metrika_uploads SET next_check_at = now() WHERE state = 'prepared' RETURNING id")


def test_an_order_is_not_held_up_by_a_held_goal_that_it_has_reached_before(here: World) -> None:
    hold = (
        "INSERT INTO metrika_goals (counter_id, target, held_at, retry_at) VALUES (%s, 'lead', now(), %s) RETURNING 1"
    )
    here.query(hold, here.counter, "9000-01-01")
    _store(here, target="lead", ago=120)
    _store(here)
    with here.sink():
        _until_uploaded(here, 1)
        assert here.stages() == {"uploaded": 1, "stored": 1}
        here.connection.execute("DELETE FROM metrika_goals")
        _until_uploaded(here, 2)
    assert _orders(here)["deal 1"]["goals"] == ["lead:100.5", "sale:100.5"]
