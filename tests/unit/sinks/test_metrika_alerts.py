"""The alert rules speak of metrics, labels and commands that exist, and the page about uploads explains them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import prometheus_client
import pytest
import yaml

from goalpost.admin.commands import admin
from runtime import metrics
from sinks.metrika.answers import Uploading
from sinks.metrika.ledger import State

_ROOT = Path(__file__).parents[3]
_RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((_ROOT / "ops/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
_PAGE = (_ROOT / "docs/metrika.md").read_text(encoding="utf-8")
_LABELS = {
    f"{name}{suffix}": set(metric._labelnames)
    for metric in vars(metrics).values()
    if isinstance(metric, prometheus_client.metrics.MetricWrapperBase)
    for name in [metric._name]
    for suffix in (["_total"] if isinstance(metric, prometheus_client.Counter) else [""])
}


@pytest.mark.parametrize("rule", _RULES, ids=lambda rule: str(rule["alert"]))
def test_every_metric_and_label_of_a_rule_exists(rule: dict[str, Any]) -> None:
    named = re.findall(r"\b((?:metrika|pipeline)_\w+)(?:\{([^}]*)\})?", rule["expr"])
    assert named
    for metric, selector in named:
        assert metric in _LABELS, metric
        assert set(re.findall(r"(\w+)=", selector)) <= _LABELS[metric], metric


@pytest.mark.parametrize("rule", _RULES, ids=lambda rule: str(rule["alert"]))
def test_the_page_says_what_to_do_about_an_alert(rule: dict[str, Any]) -> None:
    assert f"`{rule['alert']}`" in _PAGE
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_every_state_and_count_is_explained() -> None:
    names = [*State, *(name for name in Uploading.__dataclass_fields__ if name.endswith("_quantity"))]
    assert [name for name in names if f"`{name}`" not in _PAGE] == []


def test_every_command_that_the_page_names_exists() -> None:
    context = click.Context(admin)
    for group, command in re.findall(r"goalpost admin (\w+) (\w+)", _PAGE + (_ROOT / "ops/alerts.yml").read_text()):
        found = admin.get_command(context, group)
        assert isinstance(found, click.Group), group
        assert found.get_command(context, command) is not None, f"{group} {command}"
