"""When a stage stops refusing: a wall of rejects is an outage, a few bad records are not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from runtime.breaker import Breaker, Limits, TooManyRejects
from schemas.dead_letter import ErrorClass

BAD = ErrorClass.UNDECODABLE
LATE = ErrorClass.SESSION_NOT_FOUND


@dataclass
class Time:
    """A clock that is set by hand."""

    now: float = 0.0
    run: int = 500
    share: float = 0.8
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(Limits(run=self.run, share=self.share), lambda: self.now)

    def take(self, records: int, rejects: int, error_class: ErrorClass = BAD) -> None:
        """A batch whose rejects become letters, if they may."""
        refused = [error_class] * rejects
        self.breaker.check(records, refused)
        self.breaker.passed(records, refused)


def test_a_run_of_rejects_stops_the_stage_and_one_success_begins_it_anew() -> None:
    time = Time(share=1)
    time.take(500, 500)
    time.take(1000, 499)
    for _ in range(50):
        time.take(10, 10)
    with pytest.raises(TooManyRejects, match="501 records in a row are refused"):
        time.take(1, 1)


def test_a_share_of_rejects_stops_the_stage() -> None:
    time = Time()
    time.take(200, 160)
    time.take(200, 160)
    with pytest.raises(TooManyRejects, match="481 of the last 600 records are refused"):
        time.take(200, 161)
    time.take(200, 160)


def test_of_few_records_many_may_be_bad() -> None:
    time = Time()
    for _ in range(45):
        time.take(11, 10)


def test_what_is_long_ago_does_not_count() -> None:
    time = Time()
    time.take(400, 320)
    time.now = 3601.0
    time.take(400, 399)


def test_what_is_out_of_time_is_no_outage() -> None:
    time = Time()
    for _ in range(10):
        time.take(500, 500, LATE)


def test_a_check_alone_changes_nothing() -> None:
    time = Time()
    for _ in range(3):
        with pytest.raises(TooManyRejects):
            time.breaker.check(600, [BAD] * 600)
    time.take(600, 100)


def test_without_limits_everything_may_be_refused() -> None:
    breaker = Breaker(Limits(run=0, share=1), lambda: 0.0)
    breaker.check(5000, [BAD] * 5000)


def test_the_message_names_the_way_out() -> None:
    with pytest.raises(TooManyRejects, match=r"tried every 30 s.*GOALPOST_REJECT_RUN=0 and GOALPOST_REJECT_SHARE=1"):
        Time().take(501, 501)
