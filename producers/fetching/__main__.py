"""The process ``goalpost fetch bitrix24``: completes the notes of Bitrix24's outgoing webhooks from its REST API."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Final

import requests

from producers.fetching.fetcher import Fetcher
from producers.fetching.portal import Portal
from producers.follower import DirectoryFollower
from runtime import kafka, logs
from runtime.failures import Fatal, Transient
from runtime.lifecycle import HealthServer, Heartbeat, Stop
from runtime.reachability import Reachability
from runtime.registry import Registry
from runtime.sections import FetchSettings, KafkaSettings, LogSettings, TimeSettings, VaultSettings
from runtime.settings import BadSettings, load
from runtime.vault import Vault
from schemas.contracts import RAW_EVENTS, UNFETCHED_EVENTS, WEBHOOK_CONFIGURATIONS
from schemas.topics import UNFETCHED

CLIENT_ID: Final = "goalpost-fetch"
# Offsets are stored under it: changing it reads all notes again.
GROUP: Final = "goalpost-fetch-bitrix24"


def main() -> None:
    """Read the deals that Bitrix24's webhooks name, until SIGTERM.

    Raises:
        SystemExit: 2 where the settings are not usable, 1 where the process cannot go on.
    """
    try:
        settings = load(KafkaSettings, VaultSettings, FetchSettings, LogSettings, TimeSettings)
    except BadSettings as exc:
        sys.stderr.write(f"{exc}\n")
        raise SystemExit(2) from exc
    try:
        _run(*settings)
    except (Fatal, Transient) as exc:
        logs.logger().error("process.failed", error=str(exc))
        raise SystemExit(1) from exc


def _run(
    kafka_settings: KafkaSettings, vault: VaultSettings, fetch: FetchSettings, log: LogSettings, times: TimeSettings
) -> None:
    logs.configure("fetch-bitrix24", level=log.level, json_lines=log.json_lines)
    stop, heartbeat = Stop(), Heartbeat()
    stop.listen()
    servers = kafka_settings.bootstrap_servers
    registry = Registry(kafka_settings.schema_registry_url)
    failures: list[Exception] = []

    def directory_failed(failure: Exception) -> None:
        failures.append(failure)
        stop.request()

    opener = Vault(vault.secret_key.get_secret_value())
    directory = DirectoryFollower(
        lambda: kafka.consumer(servers, group=f"{CLIENT_ID}-directory", client_id=CLIENT_ID),
        registry.codec(WEBHOOK_CONFIGURATIONS),
        opener,
        last_known=None,
        on_failure=directory_failed,
    )
    session = requests.Session()
    fetcher = Fetcher(
        kafka.consumer(servers, group=GROUP, client_id=CLIENT_ID, on_commit=kafka.offsets_answered),
        kafka.Sender(kafka.producer(servers, client_id=CLIENT_ID)),
        notes=registry.codec(UNFETCHED_EVENTS),
        events=registry.codec(RAW_EVENTS),
        vault=opener,
        webhooks=lambda: directory.index,
        portal_at=lru_cache(lambda address: Portal(address, session)),
        stop=stop,
        heartbeat=heartbeat,
        zone=times.timezone,
    )
    reachability = Reachability.of(servers, UNFETCHED.name)
    health = HealthServer(fetch.port, heartbeat=heartbeat, readiness=lambda: _obstacles(reachability, directory))
    health.start()
    logs.logger().info("health.started", port=health.port)
    directory.start()
    reachability.start()
    try:
        fetcher.run()
    finally:
        directory.stop()
    if failures:
        raise failures[0]
    logs.logger().info("process.stopped")


def _obstacles(reachability: Reachability, directory: DirectoryFollower) -> dict[str, str]:
    webhooks = {} if directory.index.complete else {"webhooks": "their configurations are being read"}
    return reachability.obstacles() or webhooks


if __name__ == "__main__":
    main()
