"""A site with a ``user_analytics`` of its own, and ``goalpost sessions`` as processes beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg

from goalpost.cluster import records
from producers.intake import change
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import WEB_SESSIONS
from schemas.events import Session
from schemas.topics import SESSIONS
from tests.sink_material import fresh_database

NOW_MS = 1_900_000_000_000

# A row as tilda-analytics.js writes it: the ids among much else.
INSERT = """
INSERT INTO user_analytics (id, session_id, analytics_data, "timestamp")
SELECT {id}, %(site)s || '-' || n,
       jsonb_build_object('ids', jsonb_build_object('ym_uid', (1700000000000000000 + n %% 1000)::text, 'yclid', NULL),
                          'page', repeat('x', 300)),
       timestamptz '2026-03-01 12:00Z' + n * interval '1 second'
FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""
IDS = {"uuid": "gen_random_uuid()", "bigint": "n", "text": "'row ' || n"}


@dataclass(kw_only=True)
class Site:
    """The database of a site, and what goalpost says about it."""

    url: str
    addresses: Addresses
    home: Path
    id_type: str = "uuid"
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    since_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def sql(self, query: str, parameters: dict[str, Any] | None = None) -> list[Any]:
        """Run a statement as the site."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def visits(self, last: int, first: int = 1) -> None:
        """Write the rows ``first`` to ``last``."""
        self.sql(INSERT.format(id=IDS[self.id_type]), {"site": self.name, "first": first, "last": last})

    def session(self, number: int) -> str:
        """The session id of a row."""
        return f"{self.name}-{number}"

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``goalpost sessions``."""
        return [sys.executable, "-m", "goalpost", "sessions", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Settings of the processes."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "DATABASE_URL": self.url,
            "KAFKA_BOOTSTRAP_SERVERS": self.addresses.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.addresses.schema_registry_url,
            "GOALPOST_SESSIONS_PORT": "0",
            "GOALPOST_SESSIONS_POLL_SECONDS": "0.05",
            "GOALPOST_LOG_JSON": "true",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command; its output goes to ``out`` and ``log`` in the site's folder."""
        with (self.home / "out").open("w") as out, (self.home / "log").open("w") as log:
            return subprocess.Popen(
                self.command(*arguments), env=self.environment, cwd=self.home, stdout=out, stderr=log, text=True
            )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        process = self.start(*arguments)
        assert process.wait(120) == code, self.log()
        return (self.home / "out").read_text()

    def backfill(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a backfill and return its summary."""
        content = json.loads(self.run("backfill", "--json", *arguments, code=code))
        assert isinstance(content, dict)
        return content

    def log(self) -> str:
        """What the last process said."""
        return (self.home / "log").read_text()

    @contextmanager
    def following(self, *arguments: str) -> Iterator[Following]:
        """Run ``follow``; at the end it gets SIGTERM and has to end well."""
        follower = Following(process=self.start("follow", *arguments), site=self)
        try:
            follower.until(lambda: follower.port is not None)
            yield follower
            follower.process.send_signal(signal.SIGTERM)
            assert follower.process.wait(30) == 0, self.log()
        finally:
            follower.process.kill()
            follower.process.wait()

    def topic(self) -> dict[str, Session | None]:
        """What ``web.sessions`` holds about this site: under ``s:`` its sessions, under ``u:`` the visitors' last."""
        return self.history()[-1]

    def history(self) -> tuple[int, dict[str, Session | None]]:
        """The number of records about this site, and the last one under each key."""
        codec = Registry(self.addresses.schema_registry_url).codec(WEB_SESSIONS)
        found: dict[str, Session | None] = {}
        count = 0
        for record in records(self.addresses.kafka_bootstrap_servers, [SESSIONS.name], since_ms=self.since_ms):
            key = (record.key or b"").decode()
            value = None if record.value is None else codec.decode(record.value)
            if (value.session_id if value else key[2:]).startswith(self.name):
                found[key] = value
                count += 1
        return count, found

    def expected(self) -> dict[str, Session]:
        """What ``POST /sessions/supabase`` would have written, oldest row first: the last record under each key."""
        query = """SELECT jsonb_build_object('type', 'INSERT', 'table', 'user_analytics', 'schema', 'public',
                          'record', to_jsonb(user_analytics))::text FROM user_analytics ORDER BY "timestamp", id"""
        found: dict[str, Session] = {}
        for (payload,) in self.sql(query):
            session = change(orjson.loads(payload), received_at=NOW_MS)
            assert isinstance(session, Session)
            found[f"s:{session.session_id}"] = session
            if session.ym_uid is not None:
                found[f"u:{session.ym_uid}"] = session
        return found


@dataclass(kw_only=True)
class Following:
    """A running ``goalpost sessions follow``."""

    process: subprocess.Popen[str]
    site: Site

    @property
    def port(self) -> int | None:
        """Where its health is."""
        found = re.search(r'"port": (\d+)', self.site.log())
        return int(found[1]) if found else None

    def get(self, path: str) -> httpx.Response:
        """Ask its health server."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, trust_env=False)

    def settled(self) -> None:
        """Wait until everything has been read and no change waits."""
        query = """SELECT (SELECT finished_at IS NOT NULL FROM session_readings WHERE name = 'follow'),
                          NOT EXISTS (SELECT FROM user_analytics_changes)"""
        self.until(lambda: self.site.sql(query) == [(True, True)])

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for ``condition`` while the process lives."""

        def met() -> bool:
            assert self.process.poll() is None, self.site.log()
            return condition()

        until(met, self.site.log)


@contextmanager
def site(addresses: Addresses, home: Path, *, id_type: str = "uuid", data_type: str = "jsonb") -> Iterator[Site]:
    """A migrated database whose ``user_analytics`` was there before goalpost."""
    table = f"""CREATE TABLE user_analytics (id {id_type} PRIMARY KEY, session_id text, analytics_data {data_type},
                "timestamp" timestamptz DEFAULT now())"""
    with fresh_database(addresses.database_url, table) as url:
        yield Site(url=url, addresses=addresses, home=home, id_type=id_type)


def until(condition: Callable[[], bool], said: Callable[[], str], seconds: float = 60) -> None:
    """Wait for ``condition``; what was ``said`` explains why it did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


def without_receipt(found: dict[str, Session | None]) -> dict[str, Session | None]:
    """The same records with one receive time: it is the only thing that differs between two ways in."""
    return {key: replace(value, received_at=NOW_MS) if value else None for key, value in found.items()}
