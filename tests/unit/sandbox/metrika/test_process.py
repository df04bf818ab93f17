"""The process: its start, its end, what outlives it, and the routes for people."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from sandbox.metrika import Configuration, RunningSimulator, running
from sandbox.metrika.process import SimulatorNotStarted
from tests.unit.sandbox.metrika.client import Client, eventually


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    database = tmp_path / "accepted.sqlite"
    with running(database=database) as first:
        uploading = Client(first.url).upload(comment="before").json()["uploading"]
        first.process.kill()
        first.process.wait(10)

    with running(database=database) as second:
        client = Client(second.url)
        found = client.management(f"offline_conversions/uploading/{uploading['id']}").json()["uploading"]
        assert (found["comment"], found["create_time"]) == ("before", uploading["create_time"])
        assert client.upload(comment="after").json()["uploading"]["id"] > uploading["id"]
        summary = client.control("summary")
        assert (summary["rows"], summary["distinct_rows"], summary["doubled_rows"]) == (2, 1, 1)


def test_tokens_quotas_goals_and_settings_survive_a_restart(tmp_path: Path) -> None:
    database = tmp_path / "accepted.sqlite"
    with running(database=database, configuration=Configuration(goals=("given",))) as first:
        client = Client(first.url)
        client.configure(strict_tokens=True)
        tokens = client.post("tokens", {"login": "shop"}).json()
        requests.put(f"{first.url}/_control/goals/7", json=["paid"], timeout=10).raise_for_status()
        client.headers = {"Authorization": f"OAuth {tokens['access_token']}"}
        assert client.upload().status_code == 200
        first.process.kill()
        first.process.wait(10)

    with running(database=database, configuration=Configuration(goals=("given",))) as second:
        client = Client(second.url)
        assert client.upload().status_code == 403
        client.headers = {"Authorization": f"OAuth {tokens['access_token']}"}
        assert client.upload().status_code == 200
        assert client.control("quotas")["login shop"] == 2
        assert client.control("goals/7") == ["paid"]
        requests.delete(f"{second.url}/_control/config", timeout=10).raise_for_status()
        assert client.control("config")["strict_tokens"] is False
        assert client.control("goals/8") == ["given"]


def test_sigterm_ends_the_process_quickly_even_while_a_request_hangs(tmp_path: Path) -> None:
    with running(database=tmp_path / "accepted.sqlite") as started, ThreadPoolExecutor(max_workers=1) as pool:
        client = Client(started.url)
        client.script("hang", seconds=60)
        hanging = pool.submit(client.upload)
        eventually(lambda: client.control("faults") == [])
        before = time.monotonic()
        started.process.terminate()
        started.process.wait(10)

        assert time.monotonic() - before < 5
        assert hanging.exception() is not None or not hanging.result().ok


def test_a_process_that_cannot_start_says_so(tmp_path: Path, simulator: RunningSimulator) -> None:
    taken = int(simulator.url.rsplit(":", 1)[1])

    with pytest.raises(SimulatorNotStarted), running(database=tmp_path / "accepted.sqlite", port=taken):
        pass


def test_wrong_rules_and_settings_are_answered_by_name(client: Client) -> None:
    rules = requests.post(f"{client.url}/_control/faults", json=[{"match": "upload", "fault": "oops"}], timeout=10)
    setting = requests.patch(f"{client.url}/_control/config", json={"oops": 1}, timeout=10)

    assert (rules.status_code, setting.status_code) == (400, 400)
    assert "fault" in rules.json()["message"]
    assert "oops" in setting.json()["message"]


def test_unknown_paths_and_methods_have_the_documented_error_shape(client: Client) -> None:
    assert client.management("nothing").json()["errors"][0]["error_type"] == "not_found"
    assert requests.get(f"{client.url}/token", timeout=10).status_code == 405
    assert requests.get(f"{client.url}/healthz", timeout=10).json() == {"status": "ok"}


def test_the_page_escapes_what_came_from_outside(client: Client) -> None:
    client.upload(b"UserId,Target,DateTime\n<script>alert(1)</script>,GOAL1,1481718166\n")
    html = requests.get(client.url, timeout=10).text

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
