"""What a pipeline refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from goalpost.metrika_account import metrika_account
from runtime.settings import BadSettings
from sandbox.credentials import Credentials
from sandbox.pipeline import Pipeline
from sandbox.stack import Addresses


def test_wrong_settings_are_listed_before_anything_is_started(tmp_path: Path) -> None:
    wrong = {
        "METRIKA_COUNTER_ID": "my counter",
        "GOALPOST_PARTITIONS": "many",
        "GOALPOST_WEBHOK_PORT": "80",
        "DATABASE_URL": "mysql://localhost",
        "GOALPOST_LOG_LEVEL": "",
    }
    home = tmp_path / "home"

    with pytest.raises(BadSettings) as raised:
        Pipeline(home, environ=wrong, report=print).start()

    assert {problem.split(":")[0] for problem in raised.value.problems} == set(wrong) - {"GOALPOST_LOG_LEVEL"}
    assert not home.exists()


REAL = {
    "METRIKA_API_URL": "https://api-metrika.yandex.net",
    "METRIKA_REFRESH_TOKEN": "r",
    "YANDEX_CLIENT_ID": "id",
    "YANDEX_CLIENT_SECRET": "secret",
    "METRIKA_COUNTER_ID": "42",
}
SIMULATOR = "http://127.0.0.1:7"


def _settings(home: Path, environ: dict[str, str]) -> dict[str, str]:
    """The settings of the services, without a stack."""
    pipeline = Pipeline(home, environ=environ, report=print)
    pipeline.credentials = Credentials(secret_key="k", webhook_id="w", webhook_secret="s", sessions_write_key="x")
    pipeline.addresses = Addresses(kafka_bootstrap_servers="k", schema_registry_url="r", database_url="d")
    block: Any = SimpleNamespace(port=lambda place: place)
    return pipeline._compose_settings(block, metrika_account(environ, simulator_url=SIMULATOR))


def test_real_metrika_has_its_tokens_renewed_by_yandex_and_not_by_a_simulator_that_is_not_there(tmp_path: Path) -> None:
    settings = _settings(tmp_path, REAL)

    assert settings["METRIKA_API_URL"] == REAL["METRIKA_API_URL"]
    assert settings["YANDEX_OAUTH_URL"] == "https://oauth.yandex.ru"
    assert SIMULATOR not in settings.values()


def test_without_metrika_both_are_the_simulator(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {})

    assert settings["METRIKA_API_URL"] == settings["YANDEX_OAUTH_URL"] == SIMULATOR


def test_metrika_without_a_counter_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environ = {"METRIKA_API_URL": "https://api-metrika.yandex.net", "METRIKA_ACCESS_TOKEN": "t"}

    with pytest.raises(BadSettings, match="METRIKA_COUNTER_ID"):
        Pipeline(home, environ=environ, report=print).start()

    assert not home.exists()
