"""What a pipeline refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from goalpost.metrika_account import metrika_account
from runtime.settings import BadSettings
from sandbox import ports
from sandbox.credentials import Credentials, credentials_of
from sandbox.pipeline import SIMULATOR as SIMULATOR_SERVICE
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


def test_every_service_has_a_health_address_of_its_own_whatever_is_set_for_containers(tmp_path: Path) -> None:
    given = {"GOALPOST_HEALTH_PORT": "8090", "GOALPOST_STREAM_PORT": "4711"}
    pipeline = Pipeline(tmp_path, environ=given, report=print)
    pipeline.addresses = Addresses(kafka_bootstrap_servers="k:1", schema_registry_url="http://r", database_url="p")
    pipeline.credentials = credentials_of(tmp_path)
    pipeline._block = ports.claim(tmp_path / "service-ports")
    try:
        pipeline._metrika = metrika_account(given, simulator_url=SIMULATOR)
        pipeline._settings = pipeline._compose_settings(pipeline._block, pipeline._metrika)
        assert "GOALPOST_HEALTH_PORT" not in pipeline.settings()
        assert len(set(pipeline.health.values())) == len(pipeline.health)
        assert pipeline.webhook_url not in pipeline.health.values()
        assert pipeline.health["stream"] == "http://127.0.0.1:4711"
        for service in pipeline._services():
            assert service.name == SIMULATOR_SERVICE or service.health_url == f"{pipeline.health[service.name]}/healthz"
    finally:
        pipeline._block.close()
