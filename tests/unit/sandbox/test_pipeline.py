"""What a pipeline refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.settings import BadSettings
from sandbox import ports
from sandbox.credentials import credentials_of
from sandbox.pipeline import SIMULATOR, Pipeline
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


def test_every_service_has_a_health_address_of_its_own_whatever_is_set_for_containers(tmp_path: Path) -> None:
    given = {"GOALPOST_HEALTH_PORT": "8090", "GOALPOST_STREAM_PORT": "4711"}
    pipeline = Pipeline(tmp_path, environ=given, report=print)
    pipeline.addresses = Addresses(kafka_bootstrap_servers="k:1", schema_registry_url="http://r", database_url="p")
    pipeline.credentials = credentials_of(tmp_path)
    pipeline._block = ports.claim(tmp_path / "service-ports")
    try:
        pipeline._settings = pipeline._compose_settings()
        assert "GOALPOST_HEALTH_PORT" not in pipeline.settings()
        assert len(set(pipeline.health.values())) == len(pipeline.health)
        assert pipeline.webhook_url not in pipeline.health.values()
        assert pipeline.health["stream"] == "http://127.0.0.1:4711"
        for service in pipeline._services():
            assert service.name == SIMULATOR or service.health_url == f"{pipeline.health[service.name]}/healthz"
    finally:
        pipeline._block.close()
