"""``goalpost sessions backfill`` from a real table into the real topic: everything, exactly, also over kill -9."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from goalpost.sessions.table import Bounds, Position, table_of
from sandbox.stack import Addresses
from tests.integration.session_site import Site, site, until, without_receipt
from tests.sink_material import opened

ROWS = 50_000


def reading(of: Site) -> tuple[int, bool]:
    """Rows that the backfill has noted as done, and whether it has finished."""
    query = "SELECT coalesce((counts ->> 'rows')::int, 0), finished_at IS NOT NULL FROM session_readings"
    found: list[Any] = of.sql(query)
    return found[0] if found else (0, False)


def test_every_row_of_a_large_table_is_in_the_topic_after_two_kills(stack: Addresses, tmp_path: Path) -> None:
    with site(stack, tmp_path) as shop:
        shop.visits(ROWS)
        for part in (ROWS // 5, ROWS // 2):
            process = shop.start("backfill", "--rate", "20000")
            until(lambda part=part: reading(shop)[0] >= part, shop.log)  # type: ignore[misc]  # bound per round
            process.kill()
            process.wait()
            assert reading(shop)[1] is False
        summary = shop.backfill()

        assert summary["continued"] is True
        assert summary["finished"] is True
        assert (summary["rows"], summary["sessions"], summary["unusable_rows"]) == (ROWS, ROWS, 0)
        assert summary["rows_now"] < ROWS // 2 + 1
        written, found = shop.history()
        assert without_receipt(found) == shop.expected()
        assert len(found) == ROWS + 1000
        # Each kill repeats at most the page that was under way.
        assert 2 * ROWS <= written <= 2 * (ROWS + 2 * 2_000)


@pytest.mark.parametrize("id_type", ["uuid", "bigint", "text"])
def test_a_row_becomes_what_a_database_webhook_would_have_made_of_it(
    stack: Addresses, tmp_path: Path, id_type: str
) -> None:
    with site(stack, tmp_path, id_type=id_type) as shop:
        shop.visits(30)
        shop.sql('UPDATE user_analytics SET analytics_data = \'{"ids": {"ym_uid": 1666707227246044402}}\'')
        shop.sql("ALTER TABLE user_analytics ADD COLUMN last_visit_at timestamp")
        shop.sql("UPDATE user_analytics SET last_visit_at = \"timestamp\" + interval '1 hour 1 microsecond'")
        summary = shop.backfill()

        assert without_receipt(shop.topic()) == shop.expected()
        assert (summary["sessions"], summary["records"]) == (30, 60)
        assert summary["rows_per_second"] > 0


@pytest.mark.parametrize("id_type", ["uuid", "bigint", "text"])
def test_pages_show_every_row_once_whatever_its_time_and_id(stack: Addresses, tmp_path: Path, id_type: str) -> None:
    with site(stack, tmp_path, id_type=id_type) as shop, opened(shop.url) as connection:
        shop.visits(120)
        shop.sql(
            """UPDATE user_analytics SET "timestamp" = CASE right(session_id, 1)
                   WHEN '1' THEN NULL WHEN '2' THEN "timestamp" + interval '0.5 s' WHEN '3' THEN "timestamp"
                   ELSE '2026-03-01 12:00:00.25Z' END"""
        )
        table, seen = table_of(connection), list[str]()
        position: Position | None = Position()
        while position is not None:
            rows = table.page(connection, Bounds(), position, limit=4)
            seen += [row.row_id for row in rows]
            position = table.behind(rows, Bounds(), position, limit=4)
        assert len(seen) == 120
        ordered = 'SELECT id::text FROM user_analytics AS it ORDER BY it."timestamp" NULLS LAST, it.id'
        assert seen == [row_id for (row_id,) in shop.sql(ordered)]


UNUSABLE = """
INSERT INTO user_analytics (id, session_id, analytics_data, "timestamp") VALUES
    (1, %(site)s || '-good', '{"ids": {"ym_uid": "5"}}', now()),
    (2, NULL, '{"ids": {"ym_uid": "6"}}', now()),
    (3, '', NULL, now()),
    (4, repeat('s', 300), '[]', now()),
    (5, %(site)s || '-never', '"text"', 'infinity'),
    (6, %(site)s || '-old', '{}', '1999-01-01'),
    (7, %(site)s || '-no visitor', '{"ids": {"ym_uid": "undefined"}}', now()),
    (8, %(site)s || '-no time', '{"ids": {"ym_uid": 1e400, "user_id": "u"}}', NULL)
"""


def test_rows_that_cannot_become_sessions_are_counted_by_reason_and_named(stack: Addresses, tmp_path: Path) -> None:
    with site(stack, tmp_path, id_type="bigint") as shop:
        shop.sql(UNUSABLE, {"site": shop.name})
        rehearsed = shop.backfill("--dry-run", "--unusable", "all.jsonl")
        assert shop.topic() == {}
        assert reading(shop) == (0, False)

        named = {why: part["first_ids"] for why, part in rehearsed["unusable"].items()}
        assert named == {
            "the row has no session_id or no id": ["2", "3"],
            "session_id is longer than 256 characters; send a shorter one": ["4"],
            "timestamp is no time; send ISO 8601 such as 2026-03-01T12:30:00+03:00, or epoch seconds": ["5"],
            "timestamp is before the year 2000 or more than a year ahead; send the time of the event": ["6"],
        }
        assert rehearsed["unusable"]["the row has no session_id or no id"]["with_ym_uid"] == 1
        listed = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
        assert sorted(one["id"] for one in listed) == ["2", "3", "4", "5", "6"]

        written = shop.backfill()
        assert {**rehearsed, "dry_run": False} == {
            **written,
            "seconds": rehearsed["seconds"],
            "rows_per_second": rehearsed["rows_per_second"],
        }
        assert (written["rows"], written["sessions"], written["sessions_without_ym_uid"]) == (8, 3, 2)
        assert set(shop.topic()) == {f"s:{shop.name}-{end}" for end in ("good", "no visitor", "no time")} | {"u:5"}
        assert "5 cannot become sessions" in shop.run("backfill", "--dry-run")


def test_bounds_take_the_rows_between_them_and_a_finished_backfill_begins_anew(
    stack: Addresses, tmp_path: Path
) -> None:
    with site(stack, tmp_path) as shop:
        shop.visits(100)
        bounds = ("--since", "2026-03-01T12:00:11", "--until", "2026-03-01T12:00:21")
        assert shop.backfill(*bounds)["rows"] == 10
        found = {key for key in shop.topic() if key.startswith("s:")}
        assert found == {f"s:{shop.session(number)}" for number in range(11, 21)}
        again = shop.backfill()
        assert (again["rows"], again["continued"]) == (100, False)


def test_rows_that_goalpost_itself_has_created_are_left_alone(stack: Addresses, tmp_path: Path) -> None:
    with site(stack, tmp_path) as shop:
        shop.visits(3)
        shop.sql(
            """INSERT INTO analytics_row_versions SELECT id::text, 0, 0, '' FROM user_analytics
               WHERE session_id = %(session)s""",
            {"session": shop.session(2)},
        )
        summary = shop.backfill()
        assert (summary["rows"], summary["sessions"], summary["rows_of_goalpost"]) == (3, 2, 1)
        assert f"s:{shop.session(2)}" not in shop.topic()


def test_row_level_security_that_would_hide_rows_is_an_error_and_no_empty_table(
    stack: Addresses, tmp_path: Path
) -> None:
    with site(stack, tmp_path) as shop:
        shop.visits(3)
        shop.sql("ALTER TABLE user_analytics ENABLE ROW LEVEL SECURITY")
        role = f"reader_{shop.name}"
        shop.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            owner, shop.url = shop.url, f"{shop.url} user={role} password=p"
            shop.run("backfill", code=1)
            assert "row level security" in shop.log()
        finally:
            shop.url = owner
            shop.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
