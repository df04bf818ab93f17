"""What a backfill shows: its pace, its progress, its summary and its help."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from goalpost.cli import main
from goalpost.sessions.backfill import Result
from goalpost.sessions.counts import Counts, Unusable
from goalpost.sessions.pace import Pace
from goalpost.sessions.pages import PAGE_ROWS
from goalpost.sessions.progress import lines
from goalpost.sessions.summary import as_json, as_lines
from goalpost.sessions.table import Bounds


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_rests_for_what_was_read_and_saves_nothing_up() -> None:
    clock = Clock()
    pace = Pace(100, clock)
    assert (pace.page_rows, pace.pause_seconds()) == (100, 0.0)
    clock.now += 60
    pace.spent(100)
    pace.spent(100)
    assert pace.pause_seconds() == pytest.approx(1.0)
    clock.now += 1
    assert pace.pause_seconds() == 0.0


def test_a_pace_holds_over_many_pages() -> None:
    clock = Clock()
    pace = Pace(5_000, clock)
    for _ in range(100):
        pace.spent(pace.page_rows)
        clock.now += 0.05 + pace.pause_seconds()
    assert 100 * PAGE_ROWS / (clock.now - 100) == pytest.approx(5_000, rel=0.05)


def test_without_a_rate_nothing_rests() -> None:
    pace = Pace(None, Clock())
    pace.spent(10**9)
    assert (pace.page_rows, pace.pause_seconds()) == (PAGE_ROWS, 0.0)


def test_where_no_terminal_is_a_line_is_said_every_few_seconds() -> None:
    clock = Clock()
    said: list[str] = []
    tell = lines(1_000, 5_000, say=said.append, monotonic=clock)
    for rows in (2_000, 3_000, 6_000):
        clock.now += 2.5
        tell(rows)
    assert said == ["3000 of about 5000 rows, 400 rows/s"]


RESULT = Result(
    bounds=Bounds(since_ms=0),
    counts=Counts(
        rows=60,
        sessions=8,
        without_visitor=3,
        own=2,
        unusable={"no id": Unusable(rows=50, with_visitor=1, ids=("1", "2"))},
    ),
    continued=True,
    finished=False,
    rows_now=30,
    seconds=2.0,
)


def test_the_summary_for_people_names_every_reason_and_what_to_do_next() -> None:
    assert as_lines(RESULT, dry_run=False) == [
        "60 rows: 8 became sessions (13 records of web.sessions), 2 are goalpost's own, 50 cannot become sessions",
        "3 sessions have no usable ym_uid: only their session_id finds them",
        "  50 rows (1 of them with a usable ym_uid): no id: 1, 2 and 48 more (--unusable FILE writes all)",
        "30 rows in 2.0 s, 15 rows/s",
        "Stopped before the end. Run it again: it continues where it stopped.",
    ]
    assert "would become" in as_lines(RESULT, dry_run=True)[0]


def test_the_summary_for_programs_says_the_same() -> None:
    assert as_json(RESULT, dry_run=False) == {
        "dry_run": False,
        "finished": False,
        "continued": True,
        "since": "1970-01-01T00:00:00.000Z",
        "until": None,
        "rows": 60,
        "sessions": 8,
        "sessions_without_ym_uid": 3,
        "records": 13,
        "rows_of_goalpost": 2,
        "unusable_rows": 50,
        "unusable": {"no id": {"rows": 50, "with_ym_uid": 1, "first_ids": ["1", "2"]}},
        "rows_now": 30,
        "seconds": 2.0,
        "rows_per_second": 15,
    }


@pytest.mark.parametrize("name", ["backfill", "follow", "unfollow"])
def test_each_command_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(main, ["sessions", name, "--help"])
    assert answer.exit_code == 0
    assert "user_analytics" in answer.output or "web.sessions" in answer.output


def test_a_rate_of_nothing_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["sessions", "backfill", "--rate", "0"]).exit_code == 2
