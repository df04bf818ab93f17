"""What Postgres knows of an event: its row, its upload, its audit trail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row

from goalpost.lineage.answer import Change, StoredRow
from goalpost.lineage.question import Question
from goalpost.lineage.uploading import NO_OBSTACLES, Obstacles, Upload
from runtime.postgres import Answers
from schemas.topics import CONVERSIONS, RAW
from sinks.postgres.connection import Connection, connect, translated_errors

# An order or an upload may have thousands of events; a person reads the first of them.
MOST_EVENTS: Final = 100

# One branch for each way to name a conversion, each with an index of its own: a table of years is never read through.
_NAMED: Final[LiteralString] = """
(SELECT id FROM webhook_conversions WHERE id = ANY(%(ids)s::uuid[]) LIMIT %(most)s)
UNION
(SELECT id FROM webhook_conversions WHERE order_id = ANY(%(orders)s::text[]) LIMIT %(most)s)
UNION
(SELECT id FROM webhook_conversions WHERE corrects = ANY(%(ids)s::uuid[]) LIMIT %(most)s)
UNION
(SELECT id FROM webhook_conversions WHERE session_id = %(text)s LIMIT %(most)s)
UNION
(SELECT id FROM webhook_conversions WHERE client_id = %(text)s LIMIT %(most)s)
UNION
(SELECT id FROM webhook_conversions WHERE yclid = %(text)s LIMIT %(most)s)
UNION
(SELECT c.id FROM webhook_conversions c
 WHERE c.upload IN (SELECT id FROM metrika_uploads WHERE metrika_upload_id = %(text)s
                    UNION SELECT id FROM metrika_uploads WHERE token = %(text)s
                    UNION SELECT id FROM metrika_uploads WHERE id = %(identity)s)
 LIMIT %(most)s)
LIMIT %(most)s
"""
_AT_PLACE: Final[dict[str, LiteralString]] = {
    RAW.name: """
SELECT id FROM webhook_conversions WHERE raw_partition = %(partition)s AND raw_offset = %(offset)s LIMIT %(most)s
""",
    CONVERSIONS.name: """
SELECT id FROM webhook_conversions
WHERE conversion_partition = %(partition)s AND conversion_offset = %(offset)s LIMIT %(most)s
""",
}
_WEBHOOKS: Final[LiteralString] = "SELECT id::text FROM offline_webhooks"

_ROWS: Final[LiteralString] = """
SELECT c.id::text AS event_id, c.webhook_id::text, c.status, c.stage, c.external_source AS source, c.order_id,
       c.session_id, c.session_missing, c.analytics_row_id, c.target,
       trim_scale(c.price)::text AS price, c.currency, c.goal_rule,
       c.goal_appended, c.attempts, c.raw_partition, c.raw_offset, c.conversion_partition, c.conversion_offset,
       c.upload_line, c.notes, c.upload::text AS upload, c.corrects::text AS corrects,
       (extract(epoch FROM c.created_at) * 1000)::bigint AS created_at,
       (extract(epoch FROM c.occurred_at) * 1000)::bigint AS occurred_at,
       (extract(epoch FROM c.received_at) * 1000)::bigint AS received_at,
       (extract(epoch FROM c.resolved_at) * 1000)::bigint AS resolved_at,
       (extract(epoch FROM c.deadline_at) * 1000)::bigint AS deadline_at
FROM webhook_conversions c
WHERE c.id = ANY(%s)
ORDER BY c.received_at, c.id
"""

# With the refused files that they are parts of, the first one in front.
_UPLOADS: Final[LiteralString] = """
WITH RECURSIVE chain AS (
    SELECT id AS root, id, parent, 0 AS depth FROM metrika_uploads WHERE id = ANY(%s::uuid[])
    UNION ALL
    SELECT chain.root, above.id, above.parent, chain.depth + 1
    FROM chain JOIN metrika_uploads AS above ON above.id = chain.parent
)
SELECT chain.root::text AS root, chain.depth, upload.token, upload.state, upload.id_type, upload.row_count,
       upload.attempts, upload.target, above.token AS parent, upload.metrika_upload_id, upload.metrika_status,
       upload.source_quantity, upload.line_quantity, upload.linked_quantity, upload.goal_not_found_quantity,
       upload.user_not_found_quantity, upload.error_message,
       (extract(epoch FROM upload.prepared_at) * 1000)::bigint AS prepared_at,
       (extract(epoch FROM upload.sent_at) * 1000)::bigint AS sent_at,
       (extract(epoch FROM upload.answered_at) * 1000)::bigint AS answered_at,
       (extract(epoch FROM upload.finished_at) * 1000)::bigint AS finished_at,
       (extract(epoch FROM upload.next_check_at) * 1000)::bigint AS next_check_at
FROM chain
JOIN metrika_uploads AS upload ON upload.id = chain.id
LEFT JOIN metrika_uploads AS above ON above.id = chain.parent
ORDER BY chain.root, chain.depth DESC
"""

_OBSTACLES: Final[LiteralString] = """
SELECT c.id::text AS event_id, account.paused_reason AS account_paused,
       CASE WHEN goal.held_at IS NOT NULL THEN goal.reason END AS goal_held,
       goal.unknown_since IS NOT NULL AS goal_unknown
FROM webhook_conversions AS c
JOIN metrika_counters AS counter ON counter.id = c.counter_id
JOIN yandex_accounts AS account ON account.id = counter.account_id
LEFT JOIN metrika_goals AS goal ON goal.counter_id = c.counter_id AND goal.target = c.target
WHERE c.id = ANY(%s)
"""

_CHANGES: Final[LiteralString] = """
SELECT e.conversion_id::text AS event_id, (extract(epoch FROM e.at) * 1000)::bigint AS at,
       coalesce(e.what, e.stage, e.status) AS stage, coalesce(e.actor, '') AS actor, u.token AS upload_token,
       e.metrika_upload_id, e.error_class, e.error_message, CASE WHEN e.what IS NOT NULL THEN e.reason END AS said
FROM conversion_events e LEFT JOIN metrika_uploads u ON u.id = e.upload
WHERE e.conversion_id = ANY(%s)
ORDER BY e.id
"""


def stored_rows(
    database_url: str, asked: Question, *, known_ids: Iterable[str] = (), answers: Answers | None = None
) -> tuple[StoredRow, ...]:
    """Return the rows that ``asked`` may name, and those of the events ``known_ids``, oldest first.

    Without ``answers`` a statement is waited for as long as Postgres lets it run.

    Raises:
        sinks.postgres.connection.PostgresUnavailable: no answer.
        runtime.failures.Fatal: the tables are not there, not readable, or of another version.
    """
    with connect(database_url, application_name="goalpost trace", answers=answers) as connection, translated_errors():
        # Each branch has an index. Of one that is filters over stretches the planner knows only that it is not exact,
        # and would rather read years of conversions through.
        connection.execute("SET enable_seqscan = off")
        ids = _named(connection, asked, known_ids)
        if not ids:
            return ()
        rows = connection.cursor(row_factory=dict_row)
        found = rows.execute(_ROWS, (ids,)).fetchall()
        chains = _chains(rows.execute(_UPLOADS, (_uploads_of(found),)))
        obstacles = {row.pop("event_id"): Obstacles(**row) for row in rows.execute(_OBSTACLES, (ids,))}
        changes = _by_event(rows.execute(_CHANGES, (ids,)))
    return tuple(_with(row, chains, obstacles, changes) for row in found)


def _named(connection: Connection, asked: Question, known_ids: Iterable[str]) -> list[object]:
    webhooks = [str(row[0]) for row in connection.execute(_WEBHOOKS)]
    named = {
        "ids": sorted({*asked.event_ids(webhooks), *known_ids}),
        "orders": sorted(asked.orders),
        "text": asked.text,
        "identity": asked.identity,
        "most": MOST_EVENTS + 1,
    }
    ids = [row[0] for row in connection.execute(_NAMED, named)]
    place = asked.place
    if place is not None and place.topic in _AT_PLACE:
        at = {"partition": place.partition, "offset": place.offset, "most": MOST_EVENTS + 1}
        ids += [row[0] for row in connection.execute(_AT_PLACE[place.topic], at)]
    return ids


def _with(
    row: dict[str, Any],
    chains: dict[str, list[Upload]],
    obstacles: dict[str, Obstacles],
    changes: defaultdict[str, list[Change]],
) -> StoredRow:
    *refused, upload = chains.get(row["upload"], [None])
    event_id = row["event_id"]
    known = {"upload": upload, "refused": tuple(refused), "obstacles": obstacles.get(event_id, NO_OBSTACLES)}
    return StoredRow(**{**row, **known, "changes": tuple(changes[event_id])})


def _chains(rows: Iterable[dict[str, Any]]) -> dict[str, list[Upload]]:
    """Return, by the id of each upload, the refused files that it is a part of, and itself at the end."""
    chains: defaultdict[str, list[Upload]] = defaultdict(list)
    for row in rows:
        root, _depth = row.pop("root"), row.pop("depth")
        chains[root].append(Upload(**row))
    return dict(chains)


def _uploads_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted({row["upload"] for row in rows if row["upload"] is not None})


def _by_event(rows: Iterable[dict[str, Any]]) -> defaultdict[str, list[Change]]:
    grouped: defaultdict[str, list[Change]] = defaultdict(list)
    for row in rows:
        grouped[row.pop("event_id")].append(Change(**row))
    return grouped
