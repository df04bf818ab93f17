"""The pipeline as its users see it: HTTP on one side, Postgres and Metrika on the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import requests
from psycopg.rows import dict_row

from sandbox.pipeline import Pipeline

T = TypeVar("T")


def eventually(look: Callable[[], T], good: Callable[[T], bool], *, within_seconds: float) -> T:
    """Look until ``good``; fail with the last look when the time is over."""
    deadline = time.monotonic() + within_seconds
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds} s; last seen: {seen!r}")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Outside:
    """What can be done and seen without knowing anything of the inside."""

    pipeline: Pipeline

    def convert(self, body: object, **headers: str) -> requests.Response:
        """POST a conversion to the seed's route."""
        secret = self.pipeline.credentials.webhook_secret
        return requests.post(
            f"{self.pipeline.webhook_url}/functions/v1/crm-conversion-hook",
            json=body,
            headers={"Authorization": f"Bearer {secret}", **headers},
            timeout=10,
        )

    def visit(self, *sessions: dict[str, Any]) -> None:
        """POST sessions as the site does."""
        answer = requests.post(
            f"{self.pipeline.webhook_url}/sessions",
            json=list(sessions),
            headers={"X-Write-Key": self.pipeline.credentials.sessions_write_key},
            timeout=10,
        )
        answer.raise_for_status()

    def query(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Ask Postgres."""
        with psycopg.connect(self.pipeline.addresses.database_url, row_factory=dict_row) as database:
            return database.execute(sql, parameters).fetchall()

    def row(self, event_id: str) -> dict[str, Any] | None:
        """The stored conversion."""
        rows = self.query("SELECT *, id::text AS event_id FROM webhook_conversions WHERE id = %s", event_id)
        return rows[0] if rows else None

    def goals(self, session_id: str) -> list[dict[str, Any]]:
        """The goals in a session's analytics_data."""
        rows = self.query("SELECT analytics_data FROM user_analytics WHERE session_id = %s", session_id)
        return [goal for row in rows for goal in _goals_of(row["analytics_data"])]

    def accepted_rows(self) -> list[dict[str, Any]]:
        """Every row that the simulator has accepted, a doubled one as often as it came."""
        rows: list[dict[str, Any]] = []
        while True:
            page = requests.get(
                f"{self.pipeline.metrika_api_url}/_control/accepted",
                params={"offset": len(rows), "limit": 10_000},
                timeout=30,
            ).json()["rows"]
            rows += page
            if not page:
                return rows


def _goals_of(analytics_data: dict[str, Any]) -> Sequence[dict[str, Any]]:
    goals: list[dict[str, Any]] = analytics_data.get("target_actions", {}).get("yandex_goals_triggered", [])
    return goals
