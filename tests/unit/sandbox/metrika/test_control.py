"""What only the simulator has: its clock, its pages, what is known of a site, and what was accepted."""

import re
import time

import requests

from sandbox.metrika.configuration import SETTINGS
from sandbox.metrika.control.routes import explained_routes
from sandbox.metrika.faults import Fault
from tests.unit.sandbox.metrika.client import COUNTER, CSV, Client

ROW = b"ClientId,Target,DateTime\n%s,paid,%d\n"


def test_days_can_pass_at_once(client: Client) -> None:
    uploading = client.upload().json()["uploading"]
    assert uploading["status"] == "PREPARED"

    ahead = client.post("clock", {"advance_days": 2, "advance_seconds": 60}).json()["epoch"] - time.time()
    assert 2 * 86_400 < ahead < 2 * 86_400 + 120
    later = client.management(f"offline_conversions/uploading/{uploading['id']}").json()["uploading"]
    assert later["status"] == "PROCESSED"


def test_only_visitors_who_came_within_the_window_are_linked(client: Client) -> None:
    client.configure(every_visitor_known=False, processed_after_seconds=0)
    now = int(time.time())
    visits = [
        {"counter": COUNTER, "column": "ClientId", "identifier": "1001", "at": now - 86_400},
        {"counter": COUNTER, "column": "ClientId", "identifier": "1002", "at": now - 22 * 86_400},
    ]
    assert client.post("visits", visits).json() == {"visits": 2}

    content = b"ClientId,Target,DateTime\n" + b"".join(b"%d,paid,%d\n" % (who, now - 60) for who in (1001, 1002, 1003))
    uploading = client.upload(content).json()["uploading"]
    assert uploading["status"] == "PROCESSED"
    assert (uploading["line_quantity"], uploading["user_not_found_quantity"], uploading["linked_quantity"]) == (3, 1, 1)


def test_goals_are_known_per_counter(client: Client) -> None:
    client.configure(every_goal_known=False, processed_after_seconds=0)
    requests.put(f"{client.url}/_control/goals/{COUNTER}", json=["paid"], timeout=10).raise_for_status()

    paid = client.upload(ROW % (b"1", 1481718166)).json()["uploading"]
    other = client.upload(CSV).json()["uploading"]
    elsewhere = client.upload(ROW % (b"1", 1481718166), counter=7).json()["uploading"]
    assert [one["goal_not_found_quantity"] for one in (paid, other, elsewhere)] == [0, 1, 1]
    assert client.management("goals").json()["goals"][0]["conditions"] == [{"type": "exact", "url": "paid"}]
    requests.put(f"{client.url}/_control/goals/{COUNTER}", json=[], timeout=10).raise_for_status()


def test_a_login_has_access_to_its_counters_only(client: Client) -> None:
    client.configure(logins={"anything": "shop"}, counters_by_login={"shop": [7]})
    answer = client.upload()

    assert (answer.status_code, answer.json()["errors"][0]["error_type"]) == (403, "access_denied")
    assert client.upload(counter=7).status_code == 200


def test_uploads_are_shown_by_counter_and_one_by_one(client: Client) -> None:
    number = 90_001
    content = ROW % (b"5", 1481718166)
    first, second = (client.upload(content, counter=number).json()["uploading"]["id"] for _ in range(2))

    (counted,) = [one for one in client.control("counters") if one["counter"] == number]
    assert counted == {"counter": number, "uploads": 2, "rows": 2, "overwritten_rows": 0, "doubled_rows": 1}
    assert [one["id"] for one in client.control("uploads", limit=2)] == [second, first]
    latest = client.control("requests")[-1]
    assert (latest["operation"], latest["answer"], latest["counter"]) == ("upload", "200", number)


def test_wrong_control_requests_are_answered_by_name(client: Client) -> None:
    wrong = {
        "clock": {"advance_days": "two"},
        "outage": {"seconds": -1},
        "visits": [{"counter": 1}],
        "codes": {},
    }
    for path, content in wrong.items():
        answer = client.post(path, content)
        assert answer.status_code == 400, path
        assert answer.json()["errors"][0]["error_type"] == "invalid_parameter"


def test_the_page_of_what_can_be_configured_names_every_setting_fault_and_route(client: Client) -> None:
    html = requests.get(f"{client.url}/_control", timeout=10).text

    for name in (*SETTINGS, *Fault, *(route.path for route in explained_routes())):
        assert re.search(rf"<td>{re.escape(name)}</td>", html), name
    assert client.url in html


def test_what_was_accepted_can_be_forgotten_and_ids_go_on(client: Client) -> None:
    before = client.upload().json()["uploading"]["id"]
    requests.delete(f"{client.url}/_control/accepted", timeout=10).raise_for_status()

    summary = client.control("summary")
    assert (summary["uploads"], summary["rows"], summary["doubled_rows"]) == (0, 0, 0)
    assert client.upload().json()["uploading"]["id"] > before
