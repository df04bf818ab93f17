"""Stored conversions reach Metrika once each, whatever Metrika answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.stack import Addresses
from tests.integration.metrika_world import World, end, eventually, world

# Usually well below a second; a machine with other work on it takes longer.
SOON_SECONDS = 15.0


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def test_a_stored_conversion_is_sent_at_once_and_then_processed(here: World) -> None:
    with here.sink() as process:
        here.store()
        here.until_settled()
        started = time.monotonic()
        (late,) = here.store(occurred_in=0, client_id="77")
        sql = "SELECT status FROM webhook_conversions WHERE id = %s"
        eventually(lambda: here.value(sql, late), lambda status: status == "sent")
        assert time.monotonic() - started < SOON_SECONDS
        assert here.until_settled() == {"processed": 2}
        assert end(process) == 0
    here.assert_each_once(2)
    assert here.value("SELECT count(*) FROM webhook_conversions WHERE metrika_upload_id IS NOT NULL") == 2


def test_ten_thousand_conversions_take_one_request_per_kind_of_identifier(here: World) -> None:
    here.store(9990)
    here.store(10, yclid="16064509312686620671")
    with here.sink():
        assert here.until_settled(within_seconds=60) == {"processed": 10_000}
    here.assert_each_once(10_000)
    assert here.requests() == {"200": 2}


def test_a_backlog_goes_out_in_full_files_without_waiting_for_the_interval(here: World) -> None:
    here.store(250)
    with here.sink(GOALPOST_UPLOAD_ROWS="100", GOALPOST_UPLOAD_INTERVAL_SECONDS="60"):
        eventually(here.stages, lambda stages: stages["uploaded"] == 250)
    here.assert_each_once(250)
    assert here.requests() == {"200": 3}


def test_claims_of_a_counter_keep_their_interval_across_restarts(here: World) -> None:
    here.store()
    for start in (1, 2):
        with here.sink(GOALPOST_UPLOAD_INTERVAL_SECONDS="60") as process:
            eventually(here.stages, lambda stages: stages["uploaded"] == 1)
            here.store(client_id="77")
            here.until_ready(start=start)
            assert end(process) == 0
    assert here.requests() == {"200": 1}


def test_conversions_of_one_visitor_and_second_are_kept_apart_and_the_future_waits(here: World) -> None:
    here.store(3, client_id="77", occurred_in=-0.5)
    with here.sink():
        assert here.until_settled() == {"processed": 3}
    here.assert_each_once(3)
    assert here.control("summary")["distinct_rows"] == 3
    assert "400" not in str(here.requests())


@pytest.mark.parametrize("fault", ["cut_after_accept", "504_after_accept", "malformed"])
def test_an_upload_whose_answer_was_lost_is_found_in_the_list_and_not_sent_again(here: World, fault: str) -> None:
    here.script(fault)
    here.store(5)
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)
    assert sum(here.requests().values()) == 1
    assert "upload.adopted" in here.log


@pytest.mark.parametrize(
    "odd", [{"list_shows_comments": False}, {"listed_after_seconds": 1.5}], ids=["no comments", "listed late"]
)
def test_an_upload_is_found_in_a_list_that_is_less_than_documented(here: World, odd: dict[str, object]) -> None:
    here.store(3, client_id="77")
    with here.sink():
        here.until_settled()  # an older one in the list, of another size
        here.configure(**odd)
        here.script("cut_after_accept")
        here.store(5)
        assert here.until_settled() == {"processed": 8}
    here.assert_each_once(8)
    assert sum(here.requests().values()) == 2
    assert "upload.adopted" in here.log


def test_what_the_first_page_of_a_list_shows_counts_though_the_rest_cannot_be_had(here: World) -> None:
    here.script("cut_after_accept")
    here.script("503", match="list", skip=1, times=None)
    here.store(5)
    with here.sink():
        eventually(here.stages, lambda stages: stages["uploaded"] == 5)
    here.assert_each_once(5)


def test_a_refusal_behind_the_end_of_a_list_is_its_end(here: World) -> None:
    here.store(3, client_id="77")
    with here.sink():
        here.until_settled()  # the list has a first page
        for pages in range(1, 9):
            here.script("reject", match="list", skip=pages)  # every second one
        here.script("cut_before")
        here.store(5)
        eventually(here.stages, lambda stages: stages["uploaded"] + stages["processed"] == 8)
    here.assert_each_once(8)


@pytest.mark.parametrize("fault", ["cut_before", "500", "504"])
def test_an_upload_that_metrika_does_not_have_is_sent_again_once_the_list_has_settled(here: World, fault: str) -> None:
    here.script(fault)
    here.store(5)
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)
    sql = "SELECT attempts, sent_at - prepared_at >= interval '3 seconds' FROM metrika_uploads"
    assert here.query(sql) == [(2, True)]


@pytest.mark.parametrize("fault", ["429", "420"])
def test_a_used_up_quota_only_delays(here: World, fault: str) -> None:
    here.script(fault, times=2)
    here.store(5)
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)


def test_while_metrika_cannot_be_reached_conversions_gather_for_one_upload(here: World) -> None:
    here.store(5)
    with here.sink(METRIKA_API_URL="http://127.0.0.1:9"):
        eventually(lambda: here.log, lambda log: "no connection" in log)
        here.store(5, visitor=9_000_000_000)
        eventually(lambda: here.log.count("upload.postponed"), lambda times: times >= 3)
        assert here.stages() == {"batched": 5, "stored": 5}
    with here.sink():
        assert here.until_settled() == {"processed": 10}
    here.assert_each_once(10)
    assert sum(here.uploads().values()) == 2


def test_bad_rows_are_isolated_and_the_others_uploaded(here: World) -> None:
    here.store(60)
    here.store(2, target="metrika_refuses", visitor=9_000_000_000)
    with here.sink():
        assert here.until_settled() == {"processed": 60, "failed": 2}
    here.assert_each_once(60)
    sql = "SELECT DISTINCT status, error_class, error_message, target FROM webhook_conversions WHERE stage = 'failed'"
    ((status, error_class, message, target),) = here.query(sql)
    assert (status, error_class, target) == ("error", "metrika_rejected", "metrika_refuses")
    assert "invalid_uploading" in message


def test_where_every_row_of_a_goal_is_refused_the_rest_waits_and_requests_are_spared(here: World) -> None:
    here.store(300, target="metrika_refuses")
    here.store(40, visitor=9_000_000_000)
    with here.sink():
        eventually(here.stages, lambda stages: stages["processed"] == 40 and not stages["batched"])
        assert here.stages() == {"processed": 40, "failed": 5, "stored": 295}
        assert sum(here.requests().values()) < 30
        assert here.value("SELECT count(*) FROM metrika_uploads WHERE parent IS NOT NULL") > 10
        assert "metrika_refuses" in here.admin("counter", "goals")
        late = here.store(1, target="metrika_refuses", visitor=10**15, deadline_in=-1)
        eventually(here.stages, lambda stages: stages["failed"] == 6)  # a held goal's conversions still expire
        assert here.value("SELECT error_class FROM webhook_conversions WHERE id = %s", late[0]) == "expired"

        here.configure(rejected_targets=[])
        here.admin("counter", "resume", "--counter-id", str(here.number))
        assert here.until_settled() == {"processed": 335, "failed": 6}
    here.assert_each_once(335)


def test_one_conversion_of_a_held_goal_is_tried_again_and_ends_the_hold(here: World) -> None:
    here.store(20, target="metrika_refuses")
    with here.sink():
        eventually(here.stages, lambda stages: stages["stored"] == 15)
        before = sum(here.requests().values())
        here.query("UPDATE metrika_goals SET retry_at = now() RETURNING target")
        eventually(here.stages, lambda stages: stages["failed"] == 6)
        assert here.stages() == {"failed": 6, "stored": 14}
        assert sum(here.requests().values()) == before + 1
        here.configure(rejected_targets=[])
        here.query("UPDATE metrika_goals SET retry_at = now() RETURNING target")
        assert here.until_settled() == {"failed": 6, "processed": 14}
    here.assert_each_once(14)


def test_a_goal_that_metrika_does_not_know_is_named_by_the_following_files(here: World) -> None:
    here.configure(every_goal_known=False, goals=["sale"])
    here.store(3, target="sale")
    here.store(3, target="sael", visitor=9_000_000_000)
    with here.sink():
        assert here.until_settled() == {"processed": 6}
        eventually(lambda: here.log, lambda log: "goals.separated" in log)
        here.store(3, target="sale", visitor=10**15)
        here.store(3, target="sael", visitor=10**16)
        here.until_settled()
        named = "SELECT target, unknown_lines FROM metrika_goals WHERE unknown_since IS NOT NULL"
        assert eventually(lambda: here.query(named), bool) == [("sael", 3)]
    assert sum(here.requests().values()) == 3
    assert "goal.not_found" in here.log
    assert "sael" in here.admin("counter", "goals")


def test_the_expired_and_the_unidentified_fail_before_a_request_is_spent(here: World) -> None:
    here.store(2, deadline_in=-1)
    here.query(
        "UPDATE webhook_conversions SET client_id = NULL WHERE id = %s RETURNING id", here.store(deadline_in=99)[0]
    )
    with here.sink():
        assert here.until_settled() == {"failed": 3}
        sql = "SELECT error_class, count(*) FROM outcome_outbox WHERE outcome = 'failed' GROUP BY 1"
        told = "SELECT error_class, count(*) FROM webhook_conversions GROUP BY error_class ORDER BY error_class"
        assert here.query(told) == [("event_invalid", 1), ("expired", 2)]
        eventually(lambda: here.query(sql), lambda left: left == [])
    assert here.requests() == {}


def test_nobody_linked_is_told_as_not_linked(here: World) -> None:
    here.configure(unknown_identifiers=["77"])
    here.store(client_id="77")
    with here.sink():
        assert here.until_settled() == {"not_linked": 1}
    assert here.uploads() == {"linkage_failure": 1}


def test_the_same_file_twice_at_metrika_is_an_alarm_and_never_a_third_request(here: World) -> None:
    here.script("cut_after_accept")
    rules = [{"match": "list", "fault": "500", "times": None}]
    requests.post(f"{here.simulator_url}/_control/faults", json=rules, timeout=10).raise_for_status()
    here.store(1, client_id="77")
    with here.sink():
        eventually(here.uploads, lambda states: states["unknown"] == 1)
        token = here.value("SELECT token FROM metrika_uploads")
        requests.post(
            f"{here.simulator_url}/management/v1/counter/{here.number}/offline_conversions/upload",
            params={"comment": token},
            files={"file": ("data.csv", b"ClientId,Target,DateTime\n77,crm_conversion,1481718166\n", "text/csv")},
            headers={"Authorization": "OAuth y0_good"},
            timeout=10,
        ).raise_for_status()
        here.heal()
        assert here.until_settled() == {"processed": 1}
    assert "upload.doubled" in here.log
    assert sum(here.requests().values()) == 2


def test_a_hanging_counter_and_a_forbidden_one_delay_nobody_else(here: World) -> None:
    hanging, forbidden = here.add_counter(1001), here.add_counter(1002)
    here.script("hang", counter=1001, times=None)
    here.script("forbidden", counter=1002, times=None)
    here.store(counter=hanging)
    here.store(counter=forbidden)
    with here.sink():
        eventually(here.uploads, lambda states: states["sending"] == 1 and states["prepared"] == 1)
        started = time.monotonic()
        here.store(3)
        eventually(here.stages, lambda stages: stages["uploaded"] + stages["processed"] == 3)
        assert time.monotonic() - started < SOON_SECONDS
        assert here.value("SELECT paused_reason FROM yandex_accounts") is None
        reason = "SELECT error_message FROM metrika_uploads WHERE counter_id = %s"
        assert "access_denied" in here.value(reason, forbidden)


def test_two_sinks_on_one_database_send_everything_once(here: World) -> None:
    counters = [here.add_counter(2000 + number) for number in range(4)]
    with here.sink(), here.sink():
        for _ in range(5):
            for counter in counters:
                here.store(20, counter=counter)
        assert here.until_settled(within_seconds=60) == {"processed": 400}
    here.assert_each_once(400)


def test_lost_connections_to_postgres_cost_nothing(here: World) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'goalpost-metrika-sink'"
    with here.sink() as process:
        for _ in range(5):
            here.store(20, visitor=time.time_ns())
            eventually(lambda: here.query(cut), bool)
        assert here.until_settled(within_seconds=60) == {"processed": 100}
        assert process.poll() is None
    here.assert_each_once(100)
    assert "postgres.unavailable" in here.log
