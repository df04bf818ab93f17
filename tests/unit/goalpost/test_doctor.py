"""The doctor never raises, never hides, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from goalpost.doctor import diagnosis
from goalpost.doctor.commands import doctor, examine
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
    named_after = {"kafka", "topics", "registry", "postgres", "secrets", "accounts", "webhooks", "sessions", "indexes"}
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
