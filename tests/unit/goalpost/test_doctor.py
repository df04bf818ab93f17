"""The doctor never raises, never hides, and says what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from goalpost.doctor import diagnosis
from goalpost.doctor.commands import doctor, examine
from goalpost.doctor.groups import Standing
from goalpost.doctor.processes import Address, addresses, processes
from goalpost.doctor.replicas import Copies, judged
from goalpost.findings import Finding, Verdict, bad, examined, good
from goalpost.sessions import diagnosis as session_diagnosis
from goalpost.sessions.counts import Counts
from goalpost.sessions.readings import Reading
from goalpost.sessions.table import Bounds, Position
from runtime.failures import Fatal, Transient
from schemas.events import Webhook

KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"}


def _raises(error: Exception) -> Iterator[Finding]:
    yield good("kafka", "so far")
    raise error


def test_a_dependency_that_does_not_answer_becomes_a_finding_after_those_before_it() -> None:
    found = examined("kafka", lambda: _raises(Transient("it does not answer")), remedy="Start it.")

    assert found == [good("kafka", "so far"), bad("kafka", "it does not answer", "Start it.")]


def test_a_fatal_error_brings_its_own_remedy() -> None:
    found = examined("kafka", lambda: _raises(Fatal("no topic. Run `goalpost topics apply`.")), remedy="Start it.")

    assert found[-1] == bad("kafka", "no topic. Run `goalpost topics apply`.", "")


def test_without_settings_each_missing_one_is_named_and_the_rest_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "metrika", lambda _settings: iter([good("metrika", "not asked in this test")]))

    found = examine()

    named = " ".join(finding.detail for finding in found if finding.check == "settings")
    assert all(name in named for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "GOALPOST_SECRET_KEY"))
    skipped = {finding.check for finding in found if finding.verdict is Verdict.SKIPPED}
    named_after = {"kafka", "topics", "replicas", "registry", "postgres", "pooler", "secrets", "accounts", "webhooks"}
    named_after |= {"sessions", "indexes", "lag", "letters"}
    assert skipped == named_after


def test_what_depends_on_a_broken_thing_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KAFKA.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(diagnosis, "kafka", lambda _settings: iter([bad("kafka", "down", "Start it.")]))
    monkeypatch.setattr(diagnosis, "metrika", lambda _settings: iter([good("metrika", "not asked in this test")]))

    found = {finding.check: finding for finding in examine()}

    assert found["topics"].verdict is Verdict.SKIPPED
    assert "kafka" in found["topics"].detail
    assert found["registry"].verdict is Verdict.BAD


def test_it_fails_with_json_that_a_program_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "metrika", lambda _settings: iter([good("metrika", "not asked in this test")]))

    answer = CliRunner().invoke(doctor, ["--json"])

    content = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert content["ok"] is False
    assert {"check", "verdict", "detail", "remedy"} == set(content["findings"][0])


WEBHOOK = Webhook(
    webhook_id="w",
    counter_id="c",
    metrika_counter_id=1,
    name="n",
    dialect="generic",
    secret_hashes=(),
    sealed_secrets=(),
    default_goal="crm_conversion",
    changed_at=0,
)


@pytest.mark.parametrize(
    ("published", "stored", "said"),
    [
        (WEBHOOK, ("crm_conversion", "generic"), ""),
        (None, ("crm_conversion", "generic"), "404"),
        (WEBHOOK, None, "not in Postgres"),
        (WEBHOOK, ("another_goal", "generic"), "older configuration"),
    ],
)
def test_a_webhook_that_differs_between_kafka_and_postgres_is_found(
    published: Webhook | None, stored: tuple[str, str] | None, said: str
) -> None:
    found = diagnosis._webhook_difference(published, stored)

    assert (found == "") is (said == "")
    assert said in found


FOLLOWED = Reading(bounds=Bounds(), position=Position(), counts=Counts(), recording="a=1 b=2 into=3", finished=True)


@pytest.mark.parametrize(
    ("reading", "recorded_as", "said"),
    [
        (None, None, ""),
        (FOLLOWED, FOLLOWED.recording, ""),
        (None, FOLLOWED.recording, "never followed"),
        (FOLLOWED, None, "are gone"),
        (FOLLOWED, "a=4 b=5 into=3", "not those"),
    ],
    ids=["not-followed", "followed", "nobody-follows", "triggers-dropped", "triggers-made-anew"],
)
def test_changes_that_are_not_recorded_all_the_time_are_found(
    reading: Reading | None, recorded_as: str | None, said: str
) -> None:
    found = session_diagnosis._interrupted(reading, recorded_as)

    assert (found is None) is (said == "")
    assert said in (found.detail if found else "")


@pytest.mark.parametrize(
    ("changes", "since", "verdict"), [(0, 0.0, Verdict.GOOD), (3, 1_000.0, Verdict.GOOD), (3, 800.0, Verdict.BAD)]
)
def test_changes_that_nobody_takes_are_found(changes: int, since: float, verdict: Verdict) -> None:
    assert session_diagnosis._kept_up(FOLLOWED, changes, since, now=1_010.0).verdict is verdict


def test_a_check_that_hangs_is_ended_and_what_it_has_found_stays() -> None:
    never = threading.Event()

    def look() -> Iterator[Finding]:
        yield good("kafka", "so far")
        never.wait(60)

    found = examined("kafka", look, remedy="Start it.", seconds=0.2)
    never.set()

    assert [one.verdict for one in found] == [Verdict.GOOD, Verdict.BAD]
    assert "has not ended" in found[1].detail


def test_a_mistake_of_our_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        examined("kafka", lambda: iter([good("kafka", str(1 // 0))]), remedy="")


ANYWHERE = ".".join("0000")
PORTS = {"webhook": 8080, "stream": 8081}


def test_processes_are_asked_where_somebody_says_they_are(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("WEBHOOK_URL=http://x\nHEALTH_STREAM=http://10.0.0.1:1/\nHEALTH_WEBHOOK=\n", encoding="utf-8")

    def asked(environ: dict[str, str], env_file: Path) -> dict[str, str]:
        return {one.name: one.url for one in addresses(environ, env_file, host=ANYWHERE, ports=PORTS)}

    assert asked({"HEALTH_SINK": "http://10.0.0.2:2"}, file) == {"sink": "http://10.0.0.2:2"}
    assert asked({}, file) == {"stream": "http://10.0.0.1:1"}
    assert asked({}, tmp_path / "none") == {"webhook": "http://127.0.0.1:8080", "stream": "http://127.0.0.1:8081"}


@contextmanager
def _page(status: int, body: bytes) -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # the doctor has read enough
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "verdict", "said"),
    [
        (200, b'{"status": "ready", "waiting_for": {}}', Verdict.GOOD, "is ready"),
        (503, b'{"status": "waiting", "waiting_for": {"kafka": "gone"}}', Verdict.BAD, "waits for kafka: gone"),
        (200, b"<html>a router</html>", Verdict.BAD, "no health page"),
        (200, b"[]", Verdict.BAD, "no health page"),
        (404, b"{}", Verdict.BAD, "no health page"),
        (200, b'{"status": "waiting", "waiting_for": 3}', Verdict.BAD, "no health page"),
        (200, b"x" * 1_000_000, Verdict.BAD, "no health page"),
    ],
)
def test_what_answers_at_an_address_is_believed_only_if_it_is_a_health_page(
    status: int, body: bytes, verdict: Verdict, said: str
) -> None:
    with _page(status, body) as url:
        (finding,) = processes([Address(name="stream", url=url, told=True)])

    assert finding.verdict is verdict
    assert said in finding.detail


def test_a_process_that_was_named_and_is_silent_is_a_fault_and_one_by_default_may_run_elsewhere() -> None:
    named, default = processes(Address(name="stream", url="http://127.0.0.1:1", told=told) for told in (True, False))

    assert (named.verdict, default.verdict) == (Verdict.BAD, Verdict.NOTE)
    assert "HEALTH_STREAM" in named.remedy
    assert "HEALTH_STREAM" in default.remedy


@pytest.mark.parametrize(
    ("members", "behind", "verdict"),
    [(0, 3980, Verdict.BAD), (0, 0, Verdict.NOTE), (3, 3980, Verdict.GOOD), (3, 0, Verdict.GOOD)],
)
def test_an_empty_group_with_work_is_a_fault_whatever_says_ready(members: int, behind: int, verdict: Verdict) -> None:
    standing = Standing(group="g", process="goalpost stream", members=members, behind=behind, settled=True)

    assert standing.finding().verdict is verdict


@pytest.mark.parametrize(
    ("factor", "required", "in_sync", "said"),
    [
        (1, 1, 1, ""),
        (3, 2, 3, ""),
        (2, 1, 2, ""),
        (2, 2, 2, ""),
        (3, 1, 3, "what one broker has alone is acknowledged"),
        (3, 3, 3, "one broker that is down stops every write"),
        (1, 2, 1, "nothing can be written"),
        (3, 4, 3, "nothing can be written"),
        (3, 2, 2, "2 of 3 copies in sync"),
        (3, 2, 1, "takes no records"),
    ],
)
def test_copies_are_judged_by_what_is_promised(factor: int, required: int, in_sync: int, said: str) -> None:
    copies = [Copies(topic=name, factor=factor, required=required, in_sync=in_sync) for name in ("a", "b")]
    (finding,) = judged(copies)

    assert (finding.verdict is Verdict.GOOD) is (said == "")
    assert said in finding.detail
    assert said == "" or "a and 1 more topics" in finding.detail
