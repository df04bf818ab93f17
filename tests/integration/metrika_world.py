"""A world for the Metrika sink: a database of its own, a simulator, and the sink as a process that can be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import requests
from click.testing import CliRunner

from goalpost.admin.commands import admin
from runtime.vault import Vault, generate_key
from sandbox.metrika.configuration import Configuration
from sandbox.metrika.process import running
from sandbox.stack import Addresses
from sinks.postgres.migrate import migrate

T = TypeVar("T")
VISITOR = 1_666_707_227_246_044_402
# Real processing takes up to two hours; here the way through all states is what matters.
_QUICK = Configuration(uploaded_after_seconds=0.1, matched_after_seconds=0.2, processed_after_seconds=0.3)

_INSERT = """
    INSERT INTO webhook_conversions
        (id, webhook_id, counter_id, payload, status, stage, external_source, session_missing, client_id, yclid,
         user_id, target, price, currency, occurred_at, received_at, resolved_at, deadline_at, order_id,
         conversion_partition, conversion_offset)
    SELECT gen_random_uuid(), %(webhook)s, %(counter)s, '{"note": 1}', 'pending', 'stored', 'generic', FALSE,
           CASE WHEN coalesce(%(yclid)s::text, %(user_id)s::text) IS NULL
                THEN coalesce(%(client_id)s, (%(visitor)s + n)::text) END,
           %(yclid)s, %(user_id)s, %(target)s, 100.5, 'RUB', now() + make_interval(secs => %(occurred_in)s),
           now(), now(), now() + make_interval(secs => %(deadline_in)s), 'order ' || n, %(partition)s, %(offset)s
    FROM generate_series(1, %(count)s) AS n
    RETURNING id::text
"""


class World:
    """One account with one counter and one webhook; more can be added."""

    def __init__(self, *, stack: Addresses, database_url: str, simulator_url: str, logs: Path) -> None:
        self.stack = stack
        self.database_url = database_url
        self.simulator_url = simulator_url
        self.secret_key = generate_key()
        self.vault = Vault(self.secret_key)
        self._logs = logs
        self.connection = psycopg.connect(database_url, autocommit=True, application_name="test")
        row = self.query("INSERT INTO auth.users (email) VALUES ('owner@example.com') RETURNING id")
        self.owner = row[0][0]
        self.account = self.add_account()
        self.number = 44_147_844
        self.counter = self.add_counter(self.number)

    def query(self, sql: str, *values: Any) -> list[Any]:
        """Rows of a statement."""
        return self.connection.execute(sql, values).fetchall()

    def value(self, sql: str, *values: Any) -> Any:
        """The one value of a statement."""
        return self.query(sql, *values)[0][0]

    def add_account(self, token: str = "y0_good", refresh_token: str | None = None) -> uuid.UUID:
        """An account with a sealed token."""
        sealed = self.vault.seal(refresh_token) if refresh_token else None
        sql = """
            INSERT INTO yandex_accounts (user_id, yandex_uid, name, access_token, refresh_token)
            VALUES (%s, '1', 'shop', %s, %s) RETURNING id
        """
        return uuid.UUID(str(self.value(sql, self.owner, self.vault.seal(token), sealed)))

    def add_counter(self, number: int, account: uuid.UUID | None = None) -> uuid.UUID:
        """A counter and its webhook."""
        sql = "INSERT INTO metrika_counters (account_id, counter_id) VALUES (%s, %s) RETURNING id"
        counter = self.value(sql, account or self.account, number)
        self.query("INSERT INTO offline_webhooks (counter_id, url) VALUES (%s, '') RETURNING id", counter)
        return uuid.UUID(str(counter))

    def store(self, count: int = 1, **over: Any) -> list[str]:
        """Store conversions of as many visitors, as the Postgres sink does; return their ids."""
        values: dict[str, Any] = {
            "counter": self.counter,
            "visitor": VISITOR,
            "client_id": None,
            "yclid": None,
            "user_id": None,
            "target": "crm_conversion",
            "occurred_in": -60,
            "deadline_in": 86_400,
            "partition": None,
            "offset": None,
            "count": count,
        } | over
        values["webhook"] = self.value("SELECT id FROM offline_webhooks WHERE counter_id = %s", values["counter"])
        with self.connection.transaction():
            ids = [row[0] for row in self.connection.execute(_INSERT, values)]
            self.connection.execute("NOTIFY goalpost_stored")
        return ids

    @property
    def environ(self) -> dict[str, str]:
        """Settings of a person who works on this world."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.stack.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.stack.schema_registry_url,
            "DATABASE_URL": self.database_url,
            "METRIKA_API_URL": self.simulator_url,
            "YANDEX_OAUTH_URL": self.simulator_url,
            "GOALPOST_SECRET_KEY": self.secret_key,
        }

    def admin(self, *words: str, status: int = 0, settings: Mapping[str, str] | None = None) -> str:
        """Run ``goalpost admin`` and return what it says; everything must end with ``status``."""
        result = CliRunner().invoke(admin, words, env={**self.environ, **(settings or {})})
        assert result.exit_code == status, result.output
        return result.output

    @contextmanager
    def sink(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the sink; it is killed at the end of the block unless it has ended before."""
        environ = {
            **os.environ,
            **self.environ,
            "GOALPOST_METRIKA_SINK_PORT": "0",
            "GOALPOST_UPLOAD_INTERVAL_SECONDS": "0.3",
            "GOALPOST_METRIKA_ANSWER_SECONDS": "1",
            "GOALPOST_METRIKA_SETTLE_SECONDS": "3",
            "GOALPOST_DRAIN_SECONDS": "5",
            **settings,
        }
        with self._logs.open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "sinks.metrika"], env=environ, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        """What the sinks of this world have logged."""
        return self._logs.read_text()

    def until_ready(self, *, start: int = 1) -> None:
        """Wait until the sink that was started as the ``start``-th has looked for work once."""
        log = eventually(lambda: self.log, lambda text: text.count("health.started") >= start)
        port = re.findall(r"health.started.*?port\D+(\d+)|port\D+(\d+).*?health.started", log)[start - 1]
        url = f"http://127.0.0.1:{''.join(port)}/readyz"
        eventually(lambda: requests.get(url, timeout=5).status_code, lambda status: status == 200)

    def stages(self) -> Counter[str]:
        """How many conversions are in which stage."""
        return Counter(dict(self.query("SELECT stage, count(*) FROM webhook_conversions GROUP BY stage")))

    def uploads(self) -> Counter[str]:
        """How many uploads are in which state."""
        return Counter(dict(self.query("SELECT state, count(*) FROM metrika_uploads GROUP BY state")))

    def until_settled(self, *, within_seconds: float = 30) -> Counter[str]:
        """Wait until every conversion has reached its end; return how many are in which stage."""
        return eventually(
            self.stages, lambda found: not found.keys() & {"stored", "batched", "uploaded"}, within_seconds
        )

    def control(self, path: str, **query: Any) -> Any:
        """Ask the simulator what it has accepted."""
        return requests.get(f"{self.simulator_url}/_control/{path}", params=query, timeout=10).json()

    def configure(self, **settings: Any) -> None:
        """Change the simulator's settings."""
        requests.patch(f"{self.simulator_url}/_control/config", json=settings, timeout=10).raise_for_status()

    def script(self, fault: str, **rule: Any) -> None:
        """Make the simulator's next uploads fail."""
        rules = [{"match": "upload", "fault": fault, **rule}]
        requests.post(f"{self.simulator_url}/_control/faults", json=rules, timeout=10).raise_for_status()

    def heal(self) -> None:
        """Take back the scripted failures."""
        requests.delete(f"{self.simulator_url}/_control/faults", timeout=10).raise_for_status()

    def requests(self, operation: str = "upload") -> dict[str, int]:
        """How the simulator answered, by answer."""
        return dict(self.control("summary")["answers"].get(operation, {}))

    def assert_each_once(self, conversions: int) -> None:
        """Every conversion has reached Metrika, and none twice or in another's second."""
        summary = self.control("summary")
        assert (summary["rows"], summary["distinct_rows"]) == (conversions, conversions), f"{summary}\n{self.log}"


@contextmanager
def world(stack: Addresses, folder: Path) -> Iterator[World]:
    """A world with a database of its own, so that no other test's counters are worked on."""
    name = f"metrika_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(stack.database_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")
        url = psycopg.conninfo.make_conninfo(stack.database_url, dbname=name)
        try:
            migrate(url, lambda _: None)
            with running(database=folder / "metrika.sqlite", configuration=_QUICK) as simulator:
                made = World(stack=stack, database_url=url, simulator_url=simulator.url, logs=folder / "sink.log")
                with made.connection:
                    yield made
        finally:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


def eventually(read: Callable[[], T], is_right: Callable[[T], bool], within_seconds: float = 20) -> T:
    """Read until it is right; fail with what was read last."""
    deadline = time.monotonic() + within_seconds
    while not is_right(found := read()):
        assert time.monotonic() < deadline, f"still {found} after {within_seconds} s"
        time.sleep(0.02)
    return found


def end(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end and return its status."""
    process.send_signal(signal.SIGTERM)
    return process.wait(20)
