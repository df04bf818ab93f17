"""The Postgres tables of a benchmark: a site's 100 000 sessions, and the webhook that conversions refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg

from tests.bench import material

_GOALS: Final[LiteralString] = """
SELECT count(*) FILTER (WHERE goal ? 'event_id'), count(*) FILTER (WHERE NOT goal ? 'event_id')
FROM user_analytics, jsonb_array_elements(analytics_data #> '{target_actions,yandex_goals_triggered}') AS goal
"""


@dataclass(frozen=True, slots=True)
class Goals:
    """How many goals all rows of ``user_analytics`` hold together: goalpost's name their event, the others do not."""

    ours: int
    others: int


def fill(database_url: str) -> None:
    """Write :data:`material.SESSION_COUNT` rows to ``user_analytics``, indexed by session, unless they are there."""
    now = material.now_ms()
    with psycopg.connect(database_url) as database, database.cursor() as cursor:
        if cursor.execute("SELECT FROM user_analytics WHERE session_id = 'session-000000'").fetchone() is not None:
            return
        with cursor.copy("COPY user_analytics (id, session_id, analytics_data) FROM STDIN") as copy:
            for number in range(material.SESSION_COUNT):
                one = material.session(number, now_ms=now)
                copy.write_row((one.row_id, one.session_id, material.analytics_data(number)))
        # The seed has no index on session_id; without one its handler would read the whole table for each request.
        cursor.execute("CREATE INDEX IF NOT EXISTS bench_user_analytics_session_id ON user_analytics (session_id)")
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("VACUUM ANALYZE user_analytics")


def enrol(database_url: str) -> None:
    """Write the account, the counter and the webhook of :data:`material.WEBHOOK`; a repeat changes nothing."""
    webhook = material.WEBHOOK
    owner = account = webhook.counter_id
    with psycopg.connect(database_url) as database:
        for statement, values in (
            ("INSERT INTO auth.users (id) VALUES (%s) ON CONFLICT DO NOTHING", (owner,)),
            (
                "INSERT INTO yandex_accounts (id, user_id, yandex_uid, access_token) VALUES (%s, %s, 'bench', 'bench')"
                " ON CONFLICT DO NOTHING",
                (account, owner),
            ),
            (
                "INSERT INTO metrika_counters (id, account_id, counter_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (webhook.counter_id, account, webhook.metrika_counter_id),
            ),
            (
                "INSERT INTO offline_webhooks (id, counter_id, url) VALUES (%s, %s, '') ON CONFLICT DO NOTHING",
                (webhook.webhook_id, webhook.counter_id),
            ),
        ):
            database.execute(statement, values)


def goals(database_url: str) -> Goals:
    """Count all goals there are."""
    with psycopg.connect(database_url) as database:
        row = database.execute(_GOALS).fetchone()
    assert row is not None, "an aggregate always has a row"
    return Goals(*row)
