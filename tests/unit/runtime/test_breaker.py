"""When a stage stops refusing: a wall of rejects is an outage, a few bad records are not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from runtime.breaker import NOBODY, Breaker, Limits, Reject, TooManyRejects, reject
from schemas.dead_letter import ErrorClass
from schemas.records import WEBHOOK_ID_HEADER

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

    def take(self, records: int, rejects: int, error_class: ErrorClass = BAD, sender: str = NOBODY) -> str | None:
        """A batch whose rejects become letters, if they may."""
        refused = [Reject(sender=sender, error_class=error_class)] * rejects
        self.breaker.check(records, refused)
        return self.breaker.passed(records, refused)


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
            time.breaker.check(600, [Reject(sender=NOBODY, error_class=BAD)] * 600)
    time.take(600, 100)


def test_without_limits_everything_may_be_refused() -> None:
    breaker = Breaker(Limits(run=0, share=1), lambda: 0.0)
    breaker.check(5000, [Reject(sender=NOBODY, error_class=BAD)] * 5000)


def test_the_message_names_the_way_out() -> None:
    with pytest.raises(TooManyRejects, match=r"tried every 30 s.*GOALPOST_REJECT_RUN=0 and GOALPOST_REJECT_SHARE=1"):
        Time().take(501, 501)


ROW: ErrorClass = ErrorClass.ROW_REFUSED


def test_the_wall_of_one_webhook_stops_nobody() -> None:
    time = Time()
    for _ in range(100):
        time.take(700, 700, ROW, "noisy")
    time.take(1, 0)
    time.take(2, 1, ROW, "victim")
    time.take(700, 700, ROW, "noisy")


def test_a_wall_of_one_webhook_is_told_once_when_it_begins() -> None:
    time = Time()
    told = [time.take(200, 200, ROW, "noisy") for _ in range(10)]
    assert told == [None, None, "noisy", *[None] * 7]
    time.take(10, 0)
    assert time.take(501, 501, ROW, "noisy") == "noisy"


def test_a_few_bad_records_of_another_make_no_wall_of_two() -> None:
    time = Time()
    time.take(10_000, 10_000, ROW, "noisy")
    time.take(249, 249, ROW, "other")
    time.take(10_000, 10_000, ROW, "noisy")


def test_a_wall_across_webhooks_stops_the_stage() -> None:
    time = Time(share=1)
    for _ in range(25):
        time.take(10, 10, ROW, "one")
        time.take(10, 10, ROW, "two")
    time.take(1, 1, ROW, "one")
    with pytest.raises(TooManyRejects, match="502 records in a row are refused"):
        time.take(1, 1, ROW, "two")


def test_a_share_of_rejects_across_webhooks_stops_the_stage_although_single_ones_pass() -> None:
    time = Time(run=0)
    for _ in range(24):
        time.take(10, 9, ROW, "one")
        time.take(10, 9, ROW, "two")
    with pytest.raises(TooManyRejects, match="450 of the last 500 records are refused"):
        time.take(20, 18, ROW, "two")


def test_one_webhook_among_flowing_ones_is_no_outage_however_loud_it_is() -> None:
    time = Time()
    for _ in range(100):
        time.take(1000, 1000, ROW, "noisy")
        time.take(10, 0)


def test_what_nobody_can_read_counts_in_full_beside_a_webhook() -> None:
    time = Time()
    time.take(300, 300, ROW, "noisy")
    with pytest.raises(TooManyRejects, match="600 records in a row"):
        time.take(300, 300)


def test_after_an_hour_the_sums_are_those_of_the_batches_that_are_left() -> None:
    time = Time(run=0)
    time.take(400, 400, ROW, "one")
    time.now = 3000.0
    time.take(400, 200, ROW, "two")
    time.now = 4000.0
    time.take(400, 300, ROW, "one")
    time.take(100, 100, ROW, "two")


@pytest.mark.parametrize("error_class", [ErrorClass.UNDECODABLE, ErrorClass.SCHEMA_UNKNOWN])
def test_what_cannot_be_read_is_nobodys_whatever_its_headers_say(error_class: ErrorClass) -> None:
    headers = ((WEBHOOK_ID_HEADER, b"w"),)
    assert reject(headers, error_class).sender == NOBODY
    assert reject(headers, ROW).sender == "w"
    assert reject((), ROW).sender == NOBODY
    assert reject((), ROW, otherwise="web.sessions").sender == "web.sessions"
