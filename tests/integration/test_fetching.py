"""``goalpost fetch bitrix24`` as a process on real Kafka, against a portal that keeps Bitrix24's rules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.fernet import Fernet

from producers.raw_events import unfetched_record
from runtime.registry import Registry
from runtime.vault import Vault
from sandbox.stack import Addresses
from schemas.contracts import UNFETCHED_EVENTS
from schemas.events import RawEvent, Webhook
from schemas.records import header
from schemas.topics import IGNORED, RAW, UNFETCHED
from tests.bitrix24_portal import Bitrix24, bitrix24
from tests.integration.join_world import World, eventually, now

KEY: Final = Fernet.generate_key().decode()
VAULT: Final = Vault(KEY)
WON: Final = {"STAGE_ID": "WON", "STAGE_SEMANTIC_ID": "S", "UF_CRM_YMCLIENTID": "1666707227246044402"}


@pytest.fixture(scope="module")
def world(stack: Addresses) -> World:
    return World(stack.kafka_bootstrap_servers, stack.schema_registry_url)


@pytest.fixture
def crm() -> Iterator[Bitrix24]:
    with bitrix24() as portal:
        yield portal


@pytest.fixture
def note(world: World) -> Callable[..., RawEvent]:
    codec = Registry(world.registry_url).codec(UNFETCHED_EVENTS)

    def write(webhook: Webhook, deal: str) -> RawEvent:
        event = RawEvent(
            event_id=str(uuid.uuid4()),
            webhook_id=webhook.webhook_id,
            dialect="bitrix24_event",
            received_at=now(),
            occurred_at=now(),
            order_id=deal,
        )
        world.sender.send([unfetched_record(event, codec)])
        return event

    return write


def _of_portal(world: World, crm: Bitrix24, **changes: Any) -> Webhook:
    return world.configure(dialect="bitrix24_event", rules=(), sealed_fetch_url=VAULT.seal(crm.address), **changes)


def _deal(number: int, **over: Any) -> dict[str, Any]:
    return {"ID": str(number), "MOVED_TIME": "2026-03-01T12:00:00+03:00", "OPPORTUNITY": "10.00", **WON, **over}


@contextmanager
def _fetching(world: World, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GOALPOST_")},
        "KAFKA_BOOTSTRAP_SERVERS": world.bootstrap_servers,
        "SCHEMA_REGISTRY_URL": world.registry_url,
        "GOALPOST_SECRET_KEY": KEY,
        "GOALPOST_FETCH_PORT": "0",
    }
    log = tmp_path / f"fetch-{uuid.uuid4()}.log"
    command = [sys.executable, "-m", "goalpost", "fetch", "bitrix24"]
    with log.open("wb") as lines, subprocess.Popen(command, env=environment, stderr=lines) as process:
        try:
            yield process
        finally:
            process.kill()


def _conversions(world: World, webhook: Webhook) -> list[RawEvent]:
    events = [world.raw.decode(record.value) for record in world.everything(RAW.name)]
    return [event for event in events if event.webhook_id == webhook.webhook_id]


def _orders(world: World, webhook: Webhook) -> set[str | None]:
    return {event.order_id for event in _conversions(world, webhook)}


def test_a_note_becomes_the_conversion_that_the_deal_is_also_where_its_webhook_comes_a_little_later(
    world: World, crm: Bitrix24, note: Callable[..., RawEvent], tmp_path: Path
) -> None:
    webhook = _of_portal(world, crm)
    late = replace(webhook, webhook_id=str(uuid.uuid4()))
    crm.deals = {"410": _deal(410), "411": _deal(411, STAGE_SEMANTIC_ID="P", STAGE_ID="NEW")}
    with _fetching(world, tmp_path) as process:
        note(late, "410")  # read before the others, and its webhook only comes behind them
        for number in ("410", "411", "410", "999"):
            note(webhook, number)
        letters = eventually(
            "the letter of the missing deal",
            lambda: [
                record
                for record in world.everything(UNFETCHED.dead_letters)
                if header(record.headers, "webhook_id") == webhook.webhook_id
            ],
        )
        set_aside = eventually(
            "the deal that is in no stage that counts",
            lambda: [one for one in world.everything(IGNORED.name) if one.key == webhook.webhook_id.encode()],
        )
        (event,) = {event.event_id: event for event in eventually("it", lambda: _conversions(world, webhook))}.values()
        _of_portal(world, crm, webhook_id=late.webhook_id)
        eventually("that of the webhook that came late", lambda: _conversions(world, late))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert (event.order_id, event.ym_uid, event.stage) == ("410", "1666707227246044402", "WON")
    assert [header(letter.headers, "dlq.error.class") for letter in letters] == ["deal_not_found"]
    assert {header(one.headers, "ignored.stage") for one in set_aside} == {"NEW"}


def test_300_deals_over_a_kill_are_each_an_event_once_and_the_portal_is_never_pressed(
    world: World, crm: Bitrix24, note: Callable[..., RawEvent], tmp_path: Path
) -> None:
    webhook = _of_portal(world, crm)
    crm.deals = {str(number): _deal(number) for number in range(300)}
    crm.faults.extend([(503, {"error": "QUERY_LIMIT_EXCEEDED"}), (500, b"<html>oops")])
    for number in crm.deals:
        note(webhook, number)
    with _fetching(world, tmp_path):  # killed with -9 at the end of the block
        eventually("some deals", lambda: len(_orders(world, webhook)) >= 50)
    with _fetching(world, tmp_path):
        eventually("all deals", lambda: _orders(world, webhook) == set(crm.deals))

    by_order: dict[str | None, set[str]] = {}
    for event in _conversions(world, webhook):
        by_order.setdefault(event.order_id, set()).add(event.event_id)
    assert {len(ids) for ids in by_order.values()} == {1}
    assert crm.too_fast == 0


def test_a_portal_that_refuses_holds_up_nobody_else_and_loses_nothing(
    world: World, crm: Bitrix24, note: Callable[..., RawEvent], tmp_path: Path
) -> None:
    crm.deals = {"1": _deal(1), "2": _deal(2)}
    unconfigured = world.configure(dialect="bitrix24_event", rules=())
    working = _of_portal(world, crm)
    with _fetching(world, tmp_path):
        note(unconfigured, "1")
        note(working, "2")
        eventually("the other portal's deal", lambda: _orders(world, working) == {"2"})
        assert _orders(world, unconfigured) == set()
    world.configure(
        webhook_id=unconfigured.webhook_id,
        dialect="bitrix24_event",
        rules=(),
        sealed_fetch_url=VAULT.seal(crm.address),
        changed_at=time.time_ns() // 1_000_000,
    )
    with _fetching(world, tmp_path):
        eventually("the deal after the repair", lambda: _orders(world, unconfigured) == {"1"})
