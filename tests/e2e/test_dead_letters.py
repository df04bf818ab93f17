"""Every error class: produced for real, found, mended, replayed to an upload; then nothing is missing or doubled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.pipeline import Pipeline
from schemas.dead_letter import ErrorClass
from tests.bitrix24_portal import bitrix24
from tests.e2e.dead_letter_cases import Case, Scene
from tests.e2e.outside import eventually


@pytest.fixture(scope="module")
def scene(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with bitrix24() as crm:
        scene = Scene(pipeline, tmp_path_factory.mktemp("transforms"), crm)
        scene.play()
        yield scene


def _open(scene: Scene, case: Case) -> int:
    options = ["--class", case.error_class.value, "--webhook", case.webhook_id, "--since", scene.began]
    return sum(group["open"] for group in json.loads(scene.goalpost("dlq", "ls", "--json", *options).stdout)["groups"])


def _replay(scene: Scene, case: Case, *options: str) -> dict[str, Any]:
    selection = ["--class", case.error_class.value, "--webhook", case.webhook_id, "--since", scene.began]
    answer = scene.goalpost("dlq", "replay", "--json", *selection, *case.options, *options)
    assert answer.exit_code == 0, answer.output
    content: dict[str, Any] = json.loads(answer.stdout)
    return content


def _uploaded(scene: Scene, visitor: str) -> list[dict[str, Any]]:
    return scene.outside.query(
        "SELECT id::text FROM webhook_conversions WHERE client_id = %s AND status = 'sent' AND corrects IS NULL",
        visitor,
    )


@pytest.mark.parametrize("error_class", ErrorClass)
def test_a_letter_of_every_class_is_found_mended_and_replayed_to_an_upload(
    scene: Scene, error_class: ErrorClass
) -> None:
    case = scene.cases[error_class]
    assert eventually(lambda: _open(scene, case), lambda count: count > 0, within_seconds=45) == 1

    case.mend()
    dry = _replay(scene, case)
    done = _replay(scene, case, "--execute")

    assert {name: count for name, count in done["counts"].items() if count} == {
        name: count for name, count in dry["counts"].items() if count
    }
    (letter,) = done["letters"]
    assert "upload" in letter["detail"]
    (row,) = eventually(lambda: _uploaded(scene, case.visitor), bool, within_seconds=30)
    assert row["id"] == (case.event_id or row["id"])
    assert _open(scene, case) == 0
    again = _replay(scene, case, "--execute")
    assert {name for name, count in again["counts"].items() if count} == {"skipped"}


def test_a_replayed_amount_overwrites_the_first_one_at_metrika(scene: Scene) -> None:
    case = scene.cases[ErrorClass.AMOUNT_CHANGED]

    def prices() -> list[str]:
        return [row["Price"] for row in scene.outside.accepted_rows() if row.get("ClientId") == case.visitor]

    assert eventually(prices, lambda found: len(found) > 1, within_seconds=30) == ["3000", "5000"]


def test_afterwards_everything_balances_and_nothing_was_uploaded_twice(scene: Scene) -> None:
    visitors = {case.visitor for case in scene.cases.values()}
    named = ("ClientId", "Target", "DateTime", "Price")
    accepted = [row for row in scene.outside.accepted_rows() if row.get("ClientId") in visitors]
    rows = Counter(tuple(row[name] for name in named) for row in accepted)
    conversions = Counter(visitor for visitor, *_ in {row[:3] for row in rows})

    balance = scene.goalpost("ledger", "--since", scene.began, "--grace", "5", "--json")

    assert set(rows.values()) == {1}
    assert conversions == dict.fromkeys(visitors, 1)
    assert balance.exit_code == 0, balance.output
    parts = next(one for one in json.loads(balance.stdout)["equations"] if one["name"] == "received")["parts"]
    assert parts["stored"] >= len(ErrorClass)
    assert parts["dead_lettered"] == 0


def test_a_letter_shows_its_events_way_so_far(scene: Scene) -> None:
    case = scene.cases[ErrorClass.SESSION_NOT_FOUND]

    shown = json.loads(scene.goalpost("dlq", "show", str(case.event_id), "--json").stdout)

    assert shown["state"] == "replayed"
    assert [step["what"] for step in shown["way"]][:1] == ["received"]
    assert {"dead_lettered", "replayed"} <= {step["what"] for step in shown["way"]}
    assert shown["value"]["session_id"].endswith("characters)")
