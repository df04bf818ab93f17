"""Failures on the wire: cut and hanging connections, error answers, quotas; and what the rows say afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests

from tests.unit.sandbox.metrika.client import COUNTER, CSV, Client, eventually


def test_accept_then_drop_stores_the_rows_although_no_answer_comes(client: Client) -> None:
    client.script("cut_after_accept")
    before = client.rows()
    with pytest.raises(requests.ConnectionError):
        client.upload(comment="lostAnswer")

    assert client.rows() == before + 1
    assert client.control("summary")["answers"]["upload"]["cut_after_accept"] >= 1
    listed = client.management("offline_conversions/uploadings").json()["uploadings"]
    assert [uploading["comment"] for uploading in listed].count("lostAnswer") == 1


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "larger than every buffer"])
def test_a_cut_before_acceptance_leaves_nothing(client: Client, size: int) -> None:
    client.script("cut_before")
    before = client.rows()
    with pytest.raises(requests.ConnectionError):
        client.upload(CSV + b"133591247640966458,GOAL1,1481718166,123.45,RUB\n" * size)

    assert client.rows() == before
    assert client.upload().status_code == 200


@pytest.mark.parametrize(
    ("fault", "code", "error_type"),
    [
        ("503", 503, "backend_error"),
        ("500", 500, "internal_error"),
        ("504", 504, "timeout"),
        ("429", 429, "quota_requests_by_ip"),
        ("420", 420, "quota_requests_by_ip"),
        ("reject", 400, "invalid_uploading"),
        ("forbidden", 403, "access_denied"),
        ("unauthorized", 401, "unauthorized"),
        ("invalid_token", 403, "invalid_token"),
    ],
)
def test_a_scripted_error_answer_stores_nothing(client: Client, fault: str, code: int, error_type: str) -> None:
    client.script(fault, counter=COUNTER)
    before = client.rows()
    answer = client.upload()

    assert (answer.status_code, answer.json()["code"]) == (code, code)
    assert answer.json()["errors"][0]["error_type"] == error_type
    assert client.rows() == before
    assert client.control("faults") == []


def test_a_malformed_answer_and_a_late_504_come_after_the_rows_are_stored(client: Client) -> None:
    before = client.rows()
    client.script("malformed")
    answer = client.upload()
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()

    for status in (500, 503, 504):
        client.script(f"{status}_after_accept")
        assert client.upload().status_code == status
    assert client.rows() == before + 4


def test_an_answer_that_is_cut_in_the_middle_comes_after_the_rows_are_stored(client: Client) -> None:
    before = client.rows()
    client.script("cut_mid_answer")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        client.upload()

    assert client.rows() == before + 1


@pytest.mark.parametrize(("fault", "status"), [("not_json", 200), ("502", 502)])
def test_a_proxy_in_between_answers_html_and_nothing_is_stored(client: Client, fault: str, status: int) -> None:
    before = client.rows()
    client.script(fault)
    answer = client.upload()

    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, "text/html")
    assert client.rows() == before


def test_a_scripted_quota_names_its_kind_and_may_say_when_to_come_back(client: Client) -> None:
    client.script("429", error_type="quota_requests_by_uid", retry_after=7)
    answer = client.upload()

    assert answer.json()["errors"][0]["error_type"] == "quota_requests_by_uid"
    assert answer.headers["Retry-After"] == "7"

    client.script("503", retry_after=7, retry_after_as="date")
    until = parsedate_to_datetime(client.upload().headers["Retry-After"])
    assert 0 <= (until - datetime.now(UTC)).total_seconds() <= 7


@pytest.mark.parametrize(("fault", "rows_meanwhile"), [("hang", 0), ("hang_after_accept", 1)])
def test_a_held_request_is_seen_and_goes_on_when_released(client: Client, fault: str, rows_meanwhile: int) -> None:
    client.script(fault, seconds=60)
    before = client.rows()
    with ThreadPoolExecutor(max_workers=1) as pool:
        answer = pool.submit(client.upload)
        eventually(lambda: len(client.control("held")) == 1)
        assert client.control("held")[0]["fault"] == fault
        assert client.rows() == before + rows_meanwhile
        assert client.post("release").json() == {"released": 1}
        assert answer.result().status_code == 200

    assert client.control("held") == []
    assert client.rows() == before + 1


def test_an_outage_cuts_and_refuses_connections_for_a_while(client: Client) -> None:
    with requests.Session() as kept:
        assert kept.get(f"{client.url}/healthz", timeout=10).ok
        assert client.post("outage", {"seconds": 1}).ok
        eventually(lambda: _refused(client))
        with pytest.raises(requests.ConnectionError):
            kept.get(f"{client.url}/healthz", timeout=10)
    eventually(lambda: not _refused(client))
    assert client.upload().status_code == 200


def _refused(client: Client) -> bool:
    try:
        requests.get(f"{client.url}/healthz", timeout=10)
    except requests.ConnectionError:
        return True
    return False


def test_a_client_that_gives_up_on_a_hanging_request_leaves_nothing(client: Client) -> None:
    client.script("hang", seconds=30)
    before = client.control("summary")
    with pytest.raises(requests.ReadTimeout):
        client.upload(timeout=0.3)

    eventually(lambda: client.control("summary")["answers"]["upload"].get("client_left", 0) >= 1)
    assert client.rows() == before["rows"]


def test_a_patient_client_is_served_after_a_hang(client: Client) -> None:
    client.script("hang", seconds=0.3)
    started = time.monotonic()

    assert client.upload().status_code == 200
    assert time.monotonic() - started >= 0.3


def test_a_client_that_gives_up_after_acceptance_has_delivered(client: Client) -> None:
    client.script("hang_after_accept", seconds=30)
    before = client.rows()
    with pytest.raises(requests.ReadTimeout):
        client.upload(timeout=1)

    assert client.rows() == before + 1


def test_a_fourth_parallel_request_meets_the_quota(client: Client) -> None:
    client.script("hang", times=3, seconds=1)
    with ThreadPoolExecutor(max_workers=3) as pool:
        slow = [pool.submit(client.upload) for _ in range(3)]
        eventually(lambda: client.control("faults") == [])
        answer = client.upload()
        assert [request.result().status_code for request in slow] == [200] * 3

    assert (answer.status_code, answer.json()["errors"][0]["error_type"]) == (429, "quota_parallel_requests")


def test_an_address_that_asks_too_often_meets_the_quota(client: Client) -> None:
    client.configure(requests_per_second_per_ip=2, quota_status=420)
    answers = [client.management("goals") for _ in range(5)]

    refused = [answer for answer in answers if answer.status_code == 420]
    assert refused
    assert refused[0].json()["errors"][0]["error_type"] == "quota_requests_by_ip"


def test_a_lost_token_answer_costs_the_old_refresh_token(client: Client) -> None:
    client.script("cut_after_accept", match="token")
    form = {"grant_type": "refresh_token", "refresh_token": "r1", "client_id": "id", "client_secret": "secret"}
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{client.url}/token", data=form, timeout=10)

    assert requests.post(f"{client.url}/token", data=form, timeout=10).json()["error"] == "invalid_grant"
