"""Metrika's quotas hold over restarts and for several uploaders, and nobody is delayed by another counter's trouble."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.stack import Addresses
from tests.integration.metrika_world import World, end, eventually, world


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def _asked(here: World) -> int:
    """How many requests have reached Metrika."""
    return sum(here.requests("upload").values()) + sum(here.requests("list").values())


def test_the_days_requests_are_counted_over_restarts_and_by_all_uploaders_together(here: World) -> None:
    counters = [here.add_counter(3000 + number) for number in range(8)]
    few = {"GOALPOST_METRIKA_REQUESTS_PER_DAY": "6", "GOALPOST_UPLOAD_INTERVAL_SECONDS": "1"}
    for counter in counters:
        here.store(2, counter=counter)
    with here.sink(**few) as process:
        eventually(lambda: _asked(here), lambda asked: asked >= 3)
        assert end(process) == 0
    with here.sink(**few) as one, here.sink(**few) as other:
        eventually(lambda: here.value("SELECT requests FROM metrika_request_days"), lambda count: count == 6)
        here.store(2, counter=counters[0], visitor=9_000_000_000)
        here.until_ready(start=2)
        here.until_ready(start=3)
        assert (end(one), end(other)) == (0, 0)
    # Counted before it is made: what a stop came in between of is counted all the same.
    assert 3 <= _asked(here) <= 6
    assert here.value("SELECT requests FROM metrika_request_days") == 6
    assert here.stages()["failed"] == 0

    here.query("UPDATE metrika_request_days SET day = day - 1 RETURNING day")  # midnight
    with here.sink():
        assert here.until_settled() == {"processed": 18}
    here.assert_each_once(18)


def test_the_last_requests_are_kept_for_what_expires_today(here: World) -> None:
    here.add_counter(3001)
    urgent = here.add_counter(3002)
    here.store(2, deadline_in=20 * 86_400)
    with here.sink(GOALPOST_METRIKA_REQUESTS_PER_DAY="2"):
        here.until_ready()
        here.store(2, counter=urgent, deadline_in=60)
        eventually(
            lambda: here.query("SELECT stage FROM webhook_conversions WHERE counter_id = %s", urgent),
            lambda rows: {row[0] for row in rows} == {"uploaded"},
        )
    assert _asked(here) <= 2


def test_two_uploaders_never_make_more_requests_at_once_than_an_account_may(here: World) -> None:
    for number in range(10):
        here.store(2, counter=here.add_counter(3000 + number))
    here.script("hang_after_accept", times=None, seconds=0.3)
    with here.sink(), here.sink():
        assert here.until_settled(within_seconds=60) == {"processed": 20}
    assert set(here.requests()) == {"200"}
    assert set(here.requests("list")) == {"200"}


def test_a_quota_that_metrika_says_is_used_up_closes_the_account_for_every_uploader(here: World) -> None:
    here.configure(requests_per_day_per_login=1)
    here.store(2)
    with here.sink() as process:
        eventually(here.stages, lambda stages: stages["uploaded"] == 2)
        eventually(
            lambda: here.query("SELECT rests_until FROM metrika_request_days"), lambda rows: rows[0][0] is not None
        )
        assert end(process) == 0
    refused = _asked(here)
    here.store(2, visitor=9_000_000_000)
    with here.sink():
        here.until_ready(start=2)
        time.sleep(1)
    assert _asked(here) == refused
    here.configure(requests_per_day_per_login=None)
    here.query("UPDATE metrika_request_days SET rests_until = now() RETURNING day")
    with here.sink():
        assert here.until_settled() == {"processed": 4}


def test_any_number_of_hanging_counters_leaves_room_for_the_others(here: World) -> None:
    for number in range(5):
        counter = here.add_counter(1001 + number)
        here.script("hang", counter=1001 + number, times=None, seconds=60)
        here.store(counter=counter)
    with here.sink():
        eventually(here.uploads, lambda states: states["unknown"] + states["sending"] == 5)
        for round_number in range(3):
            started = time.monotonic()
            here.store(3, visitor=10**15 * (round_number + 1))
            wanted = 3 * (round_number + 1)
            eventually(here.stages, lambda stages: stages["uploaded"] + stages["processed"] >= wanted)  # noqa: B023 - called in this round
            assert time.monotonic() - started < 30  # half of what one of them hangs
