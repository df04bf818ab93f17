"""``goalpost sessions follow`` beside a site that goes on writing: nothing is missed, nothing echoes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from goalpost.findings import Verdict
from goalpost.sessions import diagnosis, readings
from goalpost.sessions.changes import send_changes
from goalpost.sessions.pages import send_page
from goalpost.sessions.publishing import KafkaUnavailable, SessionTopic
from goalpost.sessions.recording import ensure_recording
from goalpost.sessions.table import table_of
from sandbox.stack import Addresses
from schemas.contracts import WEB_SESSIONS
from schemas.identity import row_id_for
from schemas.records import Outgoing
from sinks.postgres.connection import Contention
from sinks.postgres.writer import Writer
from tests.integration.session_site import NOW_MS, Site, site, without_receipt
from tests.sink_material import conversion, opened, placed, register_webhook, session


@pytest.fixture
def shop(stack: Addresses, tmp_path: Path) -> Iterator[Site]:
    with site(stack, tmp_path) as one:
        yield one


def test_rows_of_before_and_of_now_are_in_the_topic_and_its_health_says_so(shop: Site) -> None:
    shop.visits(3_000)
    with shop.following() as follower:
        shop.visits(3_500, first=3_001)
        follower.settled()
        assert without_receipt(shop.topic()) == shop.expected()
        follower.until(lambda: follower.get("/readyz").status_code == 200)
        assert follower.get("/healthz").status_code == 200
        measured = follower.get("/metrics").text
        assert "sessions_changes_waiting 0.0" in measured
        assert "sessions_changes_oldest_timestamp_seconds 0.0" in measured


def test_a_row_that_is_committed_late_with_an_old_timestamp_is_seen(shop: Site) -> None:
    shop.visits(10)
    with shop.following() as follower:
        follower.settled()
        with psycopg.connect(shop.url) as late:
            late.execute(
                "INSERT INTO user_analytics VALUES (gen_random_uuid(), %s, '{}', '2026-01-01')", (shop.session(0),)
            )
            shop.visits(20, first=11)
            follower.until(lambda: f"s:{shop.session(20)}" in shop.topic())
            follower.settled()
            assert f"s:{shop.session(0)}" not in shop.topic()
        follower.until(lambda: f"s:{shop.session(0)}" in shop.topic())


def test_an_update_that_adds_the_visitor_is_seen_and_one_that_changes_no_session_is_not(shop: Site) -> None:
    shop.visits(2)
    shop.sql("UPDATE user_analytics SET analytics_data = '{}'")
    with shop.following() as follower:
        follower.settled()
        assert shop.topic().keys() == {f"s:{shop.session(1)}", f"s:{shop.session(2)}"}
        before, _ = shop.history()
        shop.sql('UPDATE user_analytics SET analytics_data = \'{"page": "/thanks"}\'')
        assert shop.sql("SELECT count(*) FROM user_analytics_changes") == [(0,)]
        shop.sql(
            'UPDATE user_analytics SET analytics_data = \'{"ids": {"ym_uid": "77"}}\' WHERE session_id = %(one)s',
            {"one": shop.session(1)},
        )
        follower.until(lambda: "u:77" in shop.topic())
        found = shop.topic()[f"s:{shop.session(1)}"]
        assert found is not None
        assert found.ym_uid == "77"
        assert shop.history()[0] == before + 2


def test_a_session_that_no_row_has_any_more_is_removed(shop: Site) -> None:
    shop.visits(4)
    twin = "INSERT INTO user_analytics SELECT gen_random_uuid(), session_id, '{}', now() FROM user_analytics "
    shop.sql(twin + "WHERE session_id = %(two)s", {"two": shop.session(2)})
    with shop.following() as follower:
        follower.settled()
        shop.sql("DELETE FROM user_analytics WHERE session_id = %(one)s", {"one": shop.session(1)})
        shop.sql(
            "DELETE FROM user_analytics WHERE session_id = %(two)s AND analytics_data <> '{}'", {"two": shop.session(2)}
        )
        shop.sql("UPDATE user_analytics SET session_id = NULL WHERE session_id = %(four)s", {"four": shop.session(4)})
        follower.until(lambda: shop.topic()[f"s:{shop.session(4)}"] is None)
        follower.settled()
        left = {key for key, value in shop.topic().items() if key.startswith("s:") and value is not None}
        assert left == {f"s:{shop.session(2)}", f"s:{shop.session(3)}"}


def test_what_changes_while_it_is_down_or_dies_is_not_missed(shop: Site) -> None:
    shop.visits(5)
    with shop.following() as follower:
        follower.settled()
        # Locked out of its turn, so that the changes are there when it dies.
        with psycopg.connect(shop.url) as other:
            other.execute("LOCK TABLE user_analytics_changes IN ACCESS EXCLUSIVE MODE")
            follower.process.kill()
            follower.process.wait()
        shop.visits(9, first=6)
        shop.sql("DELETE FROM user_analytics WHERE session_id = %(one)s", {"one": shop.session(1)})
        follower.process = shop.start("follow")
        follower.until(lambda: follower.port is not None)
        follower.settled()
        found = shop.topic()
        assert found[f"s:{shop.session(1)}"] is None
        assert {f"s:{shop.session(number)}" for number in range(1, 10)} <= found.keys()
        assert "reading.finished" not in shop.log()


def test_after_a_time_without_its_triggers_it_reads_everything_again(shop: Site) -> None:
    shop.visits(3)
    with shop.following() as follower:
        follower.settled()
    assert [one.verdict for one in diagnosis.following(shop.url)] == [Verdict.GOOD]
    shop.sql("ALTER TABLE user_analytics DISABLE TRIGGER ALL")
    assert [one.verdict for one in diagnosis.following(shop.url)] == [Verdict.BAD]
    shop.visits(6, first=4)
    shop.sql("ALTER TABLE user_analytics ENABLE TRIGGER ALL")
    with shop.following() as follower:
        follower.until(lambda: f"s:{shop.session(6)}" in shop.topic())
        follower.settled()
    assert without_receipt(shop.topic()) == shop.expected()


def test_what_goalpost_itself_writes_does_not_come_back(shop: Site) -> None:
    shop.visits(1)
    ((row_id,),) = shop.sql("SELECT id::text FROM user_analytics")
    given = str(uuid.uuid4())
    with shop.following() as follower, opened(shop.url) as connection:
        follower.settled()
        before, known = shop.history()
        registered = register_webhook(connection)
        writer = Writer(connection)
        # A goal in the site's row; a session of ours; a row of ours whose conversion came before its session.
        writer.write(placed(conversion(registered, row_id=row_id, session_id=shop.session(1))))
        ours = session(row_id_for(shop.session(2)), {"ids": {"ym_uid": "9"}}, session_id=shop.session(2))
        writer.write([], [ours])
        early = conversion(registered, row_id=given, session_id=shop.session(3), session_at=1, creates_row=True)
        writer.write(placed(early))
        shop.visits(4, first=4)
        follower.until(lambda: f"s:{shop.session(4)}" in shop.topic())
        follower.settled()
        written, found = shop.history()
        assert found.keys() - known.keys() == {f"s:{shop.session(4)}", "u:1700000000000000004"}
        assert written == before + 2


def test_the_doctor_sees_an_index_that_is_missing(shop: Site) -> None:
    assert [one.verdict for one in diagnosis.indexes(shop.url)] == [Verdict.GOOD]
    shop.sql("DROP INDEX idx_user_analytics_session_id")
    (found,) = diagnosis.indexes(shop.url)
    assert "finds a session" in found.detail
    assert found.remedy.startswith("Run `goalpost migrate`")


def test_unfollow_leaves_the_table_as_it_was(shop: Site) -> None:
    shop.visits(1)
    with shop.following() as follower:
        follower.settled()
    assert "not recorded any more" in shop.run("unfollow")
    assert "not followed" in next(diagnosis.following(shop.url)).detail
    assert shop.sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'user_analytics'::regclass") == []
    shop.visits(2, first=2)
    assert shop.sql("SELECT count(*) FROM user_analytics_changes") == [(0,)]
    assert shop.sql("SELECT name FROM session_readings") == []


def test_the_site_goes_on_when_the_table_of_changes_was_dropped(shop: Site) -> None:
    with shop.following() as follower:
        follower.settled()
    shop.sql("DROP TABLE user_analytics_changes")
    shop.visits(1)
    shop.run("follow", code=1)
    assert "goalpost migrate" in shop.log()


class Pausing(SessionTopic):
    """A topic in memory: just before something is written, ``meanwhile`` happens."""

    codec = WEB_SESSIONS.codec(schema_id=1, foreign_schema=lambda _: "")

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.written: list[tuple[bytes | None, str | None]] = []
        self._meanwhile = meanwhile

    def write(self, records: Sequence[Outgoing]) -> None:
        self._meanwhile()
        self.written += [(record.key, self.codec.decode(record.value).ym_uid) for record in records]


def test_an_older_state_of_a_row_is_never_written_behind_a_newer_one(shop: Site) -> None:
    """Backfill and follow read and write in turn, because under s: the last record stands."""
    shop.visits(1)
    shop.sql("UPDATE user_analytics SET analytics_data = '{}'")
    with opened(shop.url) as backfilling, opened(shop.url) as following:
        following.execute("SET lock_timeout = '100ms'")
        table = table_of(following)
        ensure_recording(following, table)
        newer = Pausing()

        def row_changes() -> None:
            shop.sql("UPDATE user_analytics SET analytics_data = %(data)s", {"data": '{"ids": {"ym_uid": "77"}}'})
            with pytest.raises(Contention):
                send_changes(following, table, newer, now_ms=NOW_MS)

        older = Pausing(row_changes)
        assert send_page(backfilling, table, older, readings.FOLLOW, now_ms=NOW_MS) is not None
        assert send_changes(following, table, newer, now_ms=NOW_MS).changes == 1
    key = f"s:{shop.session(1)}".encode()
    assert older.written == [(key, None)]
    assert newer.written == [(key, "77"), (b"u:77", "77")]


def test_what_kafka_has_not_acknowledged_is_neither_noted_nor_forgotten(shop: Site) -> None:
    def fails() -> None:
        raise KafkaUnavailable("timed out")

    with opened(shop.url) as connection:
        table = table_of(connection)
        ensure_recording(connection, table)
        shop.visits(3)
        broken, whole = Pausing(fails), Pausing()
        with pytest.raises(KafkaUnavailable):
            send_page(connection, table, broken, readings.FOLLOW, now_ms=NOW_MS)
        with pytest.raises(KafkaUnavailable):
            send_changes(connection, table, broken, now_ms=NOW_MS)
        page = send_page(connection, table, whole, readings.FOLLOW, now_ms=NOW_MS)
        assert page is not None
        assert (page.counts.sessions, send_changes(connection, table, whole, now_ms=NOW_MS).changes) == (3, 3)
        assert len(whole.written) == 12
