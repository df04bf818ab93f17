"""The whole of goalpost on one machine: the stack, the simulator, one set of accounts and webhooks, every service.

Used by ``goalpost up``, by the demo, by the end-to-end tests and by the benchmarks, so that all of them run the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import requests

from goalpost.given_settings import check_given
from goalpost.metrika_account import MetrikaAccount, metrika_account
from goalpost.topics.commands import apply as apply_topics
from runtime.failures import Fatal
from sandbox import ports
from sandbox.credentials import Credentials, credentials_of
from sandbox.enrolment import Enrolment, enrol
from sandbox.stack import Addresses, Stack
from sandbox.supervisor import Service, Supervisor
from schemas.topics import DEFAULT_PARTITIONS
from sinks.postgres.migrate import migrate

SIMULATOR: Final = "metrika"

# Name, arguments of `goalpost`, setting of the port where it says how it is. The order is that of an event's way.
_SERVICES: Final = (
    ("webhook", ("webhook",), "GOALPOST_WEBHOOK_HEALTH_PORT"),
    ("fetch_bitrix24", ("fetch", "bitrix24"), "GOALPOST_FETCH_PORT"),
    ("stream", ("stream",), "GOALPOST_STREAM_PORT"),
    ("sink_postgres", ("sink", "postgres"), "GOALPOST_POSTGRES_SINK_PORT"),
    ("sink_metrika", ("sink", "metrika"), "GOALPOST_METRIKA_SINK_PORT"),
)

# In production an upload every five minutes spares the daily quota; here somebody is watching.
_SANDBOX_DEFAULTS: Final = {
    "GOALPOST_UPLOAD_INTERVAL_SECONDS": "0.5",
    "GOALPOST_METRIKA_ANSWER_SECONDS": "4",
    "GOALPOST_METRIKA_SETTLE_SECONDS": "12",
}
# Each has a port of its own, and all run on this machine: what is for a container of one process is not for them.
_NOT_FOR_SERVICES: Final = frozenset({"GOALPOST_HEALTH_PORT"})
_READY_SECONDS: Final = 60.0
_LOOPBACK: Final = ("127.0.0.1", "localhost")


def no_proxy(given: str | None) -> str:
    """Return the NO_PROXY to use: a company's proxy cannot reach the loopback over which all of this talks."""
    return ",".join(filter(None, (given, *_LOOPBACK)))


class NotReady(Fatal):
    """A service did not become ready. The message names it, what it waits for, and its log."""


class Pipeline:
    """Everything below one folder ``home``, which ``fresh`` empties. ``environ`` are a person's settings; they win."""

    def __init__(
        self, home: Path, *, environ: Mapping[str, str], report: Callable[[str], None], fresh: bool = False
    ) -> None:
        self.home = home
        self.stack = Stack(home, given=environ, report=report, fresh=fresh)
        self._environ = environ
        self._report = report
        self._supervisor: Supervisor | None = None
        self._block: ports.PortBlock | None = None
        self._settings: dict[str, str] = {}
        self.credentials: Credentials
        self.addresses: Addresses
        self._metrika: MetrikaAccount
        self.enrolment: Enrolment

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, on_change: Callable[[], None] = lambda: None) -> None:
        """Start everything and return when every service is ready. ``on_change`` is called after each (re)start.

        Raises:
            BadSettings: a setting of the person's is wrong or unknown; nothing was started.
            Fatal: what could not be started, and why; nothing is left running.
        """
        check_given(self._environ)
        metrika_account(self._environ, simulator_url="")  # only to hear what is wrong, before anything is started
        try:
            self._start(on_change)
        except BaseException:
            self.stop()
            raise

    def _start(self, on_change: Callable[[], None]) -> None:
        self.addresses = self.stack.start()
        self.credentials = credentials_of(self.home)
        self._block = ports.claim(self.home / "service-ports")
        self._metrika = metrika_account(
            self._environ, simulator_url=f"http://127.0.0.1:{self._block.port(len(_SERVICES) + 1)}"
        )
        if self._metrika.remark is not None:
            self._report(self._metrika.remark)
        self._settings = self._compose_settings(self._block, self._metrika)
        apply_topics(
            self.addresses.kafka_bootstrap_servers,
            self.addresses.schema_registry_url,
            partitions=int(self._settings.get("GOALPOST_PARTITIONS", DEFAULT_PARTITIONS)),
            replication=int(self._settings.get("GOALPOST_REPLICATION_FACTOR", 1)),
            report=lambda _: None,
        )
        migrate(self.addresses.database_url, lambda _: None)
        self.enrolment = enrol(self._settings, self.credentials, self._metrika, webhook_url=self.webhook_url)
        self._supervisor = Supervisor(
            self._services(),
            logs=self.home / "logs",
            report=self._report,
            on_start=lambda _: on_change(),
            keep_open=self.stack.keep_open,
        )
        self._supervisor.start()
        for name, address in self.health.items():
            self._wait_ready(name, address)

    def stop(self) -> None:
        """End the services, then the stack. Does nothing when nothing runs."""
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None
        if self._block is not None:
            self._block.close()
            self._block = None
        self.stack.stop()

    def tend(self) -> None:
        """Start again what has died or stalled; call it a few times a second.

        Raises:
            PartFailed: a part of the stack does not start any more.
        """
        if self._supervisor is not None:
            self._supervisor.poll()
        self.stack.tend()

    @property
    def webhook_url(self) -> str:
        """Base address of the webhook service."""
        return f"http://127.0.0.1:{self._settings['GOALPOST_WEBHOOK_PORT']}"

    @property
    def health(self) -> dict[str, str]:
        """Base address of /healthz, /readyz and /metrics of each service, by name."""
        return {name: f"http://127.0.0.1:{self._settings[port]}" for name, _, port in _SERVICES}

    @property
    def metrika_api_url(self) -> str:
        """Where uploads go."""
        return self._metrika.api_url

    @property
    def simulated(self) -> bool:
        """Whether Metrika is our simulator."""
        return self._metrika.simulated

    def pids(self) -> dict[str, int]:
        """Process ids of the stack's parts and of the services, by name."""
        services = self._supervisor.pids() if self._supervisor is not None else {}
        return self.stack.pids() | services

    def settings(self) -> dict[str, str]:
        """The settings that the services run with, for commands that join them."""
        return dict(self._settings)

    def published(self) -> dict[str, str]:
        """What ``.goalpost/env`` tells: addresses, the demo webhook, process ids, and where each says how it is."""
        hooks = {f"HOOK_{dialect.upper()}": url for dialect, url in self.enrolment.hooks.items()}
        return {
            "WEBHOOK_URL": self.webhook_url,
            "DATABASE_URL": self.addresses.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.addresses.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.addresses.schema_registry_url,
            "METRIKA_API_URL": self.metrika_api_url,
            "YANDEX_OAUTH_URL": self._metrika.oauth_url,
            "WEBHOOK_ID": self.enrolment.webhook_id,
            "WEBHOOK_SECRET": self.credentials.webhook_secret,
            "SESSIONS_WRITE_KEY": self._settings["GOALPOST_SESSIONS_WRITE_KEY"],
            # Under the names that goalpost's own commands read, so that `doctor` and `admin` work with the same file.
            **{name: self._settings[name] for name in ("GOALPOST_SECRET_KEY", "GOALPOST_SESSIONS_WRITE_KEY")},
            **hooks,
            **{f"PID_{name.upper()}": str(pid) for name, pid in self.pids().items()},
            **{f"HEALTH_{name.upper()}": address for name, address in self.health.items()},
        }

    def _compose_settings(self, block: ports.PortBlock, metrika: MetrikaAccount) -> dict[str, str]:
        own = {
            **_SANDBOX_DEFAULTS,
            # The places are kept: the webhook service finds its spool by its port.
            **{setting: str(block.port(place)) for place, (_, _, setting) in enumerate(_SERVICES, start=1)},
            "GOALPOST_WEBHOOK_PORT": str(block.port(1)),
            "GOALPOST_WEBHOOK_HEALTH_PORT": str(block.port(len(_SERVICES) + 2)),
            "GOALPOST_SECRET_KEY": self.credentials.secret_key,
            "GOALPOST_SESSIONS_WRITE_KEY": self.credentials.sessions_write_key,
            "GOALPOST_STATE_DIR": str(self.home / "state"),
            "GOALPOST_SPOOL_DIR": str(self.home / "spool"),
        }
        addresses = {
            "KAFKA_BOOTSTRAP_SERVERS": self.addresses.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.addresses.schema_registry_url,
            "DATABASE_URL": self.addresses.database_url,
            "METRIKA_API_URL": metrika.api_url,
            "YANDEX_OAUTH_URL": metrika.oauth_url,
        }
        given = {name: value for name, value in self._environ.items() if value and name not in _NOT_FOR_SERVICES}
        return own | given | addresses | {"NO_PROXY": no_proxy(self._environ.get("NO_PROXY"))}

    def _services(self) -> list[Service]:
        python = sys.executable
        services = [
            Service(
                name=name,
                argv=(python, "-m", "goalpost", *arguments),
                env=self._settings,
                health_url=f"{self.health[name]}/healthz",
            )
            for name, arguments, _ in _SERVICES
        ]
        if self.simulated:
            port = self.metrika_api_url.rpartition(":")[2]
            database = str(self.home / "metrika.sqlite")
            argv = (python, "-m", "sandbox.metrika", "--port", port, "--database", database)
            services.insert(0, Service(name=SIMULATOR, argv=argv, env=self._settings))
        return services

    def _wait_ready(self, name: str, address: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        waiting_for = "its first answer"
        while time.monotonic() < deadline:
            self.tend()
            try:
                answer = requests.get(f"{address}/readyz", timeout=2)
            except requests.RequestException:
                time.sleep(0.1)
                continue
            if answer.ok:
                return
            waiting_for = ", ".join(f"{part}: {what}" for part, what in answer.json()["waiting_for"].items())
            time.sleep(0.1)
        log = self.home / "logs" / f"{name}.log"
        raise NotReady(f"{name} was not ready within {_READY_SECONDS:.0f} s; it waits for {waiting_for}. See {log}.")
