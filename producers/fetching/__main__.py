"""The process ``goalpost fetch bitrix24``: completes the notes of Bitrix24's outgoing webhooks from its REST API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, TypeVar

import requests

from producers.fetching.fetcher import Fetcher
from producers.fetching.portal import Portal
from producers.follower import DirectoryFollower
from runtime import kafka, logs
from runtime.attention import Attention
from runtime.failures import Fatal, Transient
from runtime.lifecycle import HealthServer, Heartbeat, Stop
from runtime.lookout import Lookout
from runtime.registry import Registry, RegistryUnavailable
from runtime.sections import FetchSettings, HealthSettings, KafkaSettings, LogSettings, TimeSettings, VaultSettings
from runtime.sending import LastingSender
from runtime.settings import BadSettings, load
from runtime.vault import Vault
from schemas.codec import Codec
from schemas.contracts import RAW_EVENTS, UNFETCHED_EVENTS, WEBHOOK_CONFIGURATIONS, Contract
from schemas.topics import UNFETCHED, WEBHOOKS

CLIENT_ID: Final = "goalpost-fetch"
# Offsets are stored under it: changing it reads all notes again.
GROUP: Final = "goalpost-fetch-bitrix24"
_PAUSE_SECONDS: Final = 1.0

T = TypeVar("T")


def main() -> None:
    """Read the deals that Bitrix24's webhooks name, until SIGTERM.

    Raises:
        SystemExit: 2 where the settings are not usable, 1 where the process cannot go on.
    """
    try:
        settings = load(KafkaSettings, VaultSettings, FetchSettings, LogSettings, HealthSettings, TimeSettings)
    except BadSettings as exc:
        sys.stderr.write(f"{exc}\n")
        raise SystemExit(2) from exc
    try:
        _run(*settings)
    except (Fatal, Transient) as exc:
        logs.logger().error("process.failed", error=str(exc))
        raise SystemExit(1) from exc


def _run(
    kafka_settings: KafkaSettings,
    vault: VaultSettings,
    fetch: FetchSettings,
    log: LogSettings,
    health: HealthSettings,
    times: TimeSettings,
) -> None:
    logs.configure("fetch-bitrix24", level=log.level, json_lines=log.json_lines)
    stop, heartbeat = Stop(), Heartbeat()
    stop.listen()
    servers = kafka_settings.bootstrap_servers
    lookout = Lookout.over(servers, UNFETCHED.name, group=GROUP, compacted=WEBHOOKS.name)
    notes, webhooks = Attention(lookout.sighting, group=GROUP), Attention(lookout.sighting)
    awaited: dict[str, str] = {"registry": "it has not answered yet"}

    def obstacles() -> dict[str, str]:
        if found := awaited or lookout.obstacles():
            return dict(found)
        if not directory.index.complete:
            return {"webhooks": "it is not certain yet which there are"}
        readers = {"reader": notes.obstacle(), "webhooks": webhooks.obstacle()}
        return {**{name: problem for name, problem in readers.items() if problem is not None}, **fetcher.obstacles()}

    HealthServer(
        health.port_or(fetch.port),
        host=health.host,
        heartbeat=heartbeat,
        readiness=obstacles,
        standstill=lambda: notes.standstill(health.stalled_seconds) or webhooks.standstill(health.stalled_seconds),
    ).start()
    registry = Registry(kafka_settings.schema_registry_url)

    def codec(contract: Contract[T]) -> Codec[T]:
        return _when_answered(lambda: registry.codec(contract), awaited, stop, heartbeat)

    failures: list[Exception] = []

    def directory_failed(failure: Exception) -> None:
        failures.append(failure)
        stop.request()

    opener = Vault(vault.secret_key.get_secret_value())
    directory = DirectoryFollower(
        partial(kafka.consumer, servers, group=f"{CLIENT_ID}-directory", client_id=CLIENT_ID, says_ends=True),
        codec(WEBHOOK_CONFIGURATIONS),
        opener,
        log=lookout.log,
        attention=webhooks,
        on_failure=directory_failed,
    )
    session = requests.Session()
    fetcher = Fetcher(
        partial(
            kafka.consumer,
            servers,
            group=GROUP,
            client_id=CLIENT_ID,
            says_ends=True,
            on_commit=kafka.offsets_answered,
        ),
        LastingSender(partial(kafka.producer, servers, client_id=CLIENT_ID), client="deals"),
        notes=codec(UNFETCHED_EVENTS),
        events=codec(RAW_EVENTS),
        vault=opener,
        webhooks=lambda: directory.index,
        portal_at=lru_cache(lambda address: Portal(address, session)),
        stop=stop,
        heartbeat=heartbeat,
        attention=notes,
        zone=times.timezone,
    )
    awaited.clear()
    directory.start()
    lookout.start()
    try:
        fetcher.run()
    finally:
        directory.stop()
    if failures:
        raise failures[0]
    logs.logger().info("process.stopped")


def _when_answered(ask: Callable[[], T], awaited: dict[str, str], stop: Stop, heartbeat: Heartbeat) -> T:
    """Ask the registry until it answers; ``awaited`` says meanwhile what stands in the way.

    Raises:
        RegistryUnavailable: the process was asked to stop.
    """
    while True:
        try:
            return ask()
        except RegistryUnavailable as exc:
            logs.seldom("dependency.unavailable", dependency="registry", error=str(exc))
            awaited["registry"] = str(exc)
            heartbeat.beat()
            if stop.wait(_PAUSE_SECONDS):
                raise


if __name__ == "__main__":
    main()
