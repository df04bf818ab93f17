"""For all tests: settings of the person who runs them must not leak in."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from runtime.settings import all_names
from tests.promises import (
    promise_seed,
    pytest_addoption,
    pytest_configure,
    pytest_configure_node,
    pytest_report_header,
    pytest_runtest_makereport,
)

__all__ = [
    "promise_seed",
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_report_header",
    "pytest_runtest_makereport",
]

# How fast examples are made says something about the machine and its other work, nothing about the code.
settings.register_profile("goalpost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("goalpost")

# Where the stack comes from is the one thing that a person may say to the tests.
_KEPT = frozenset({"GOALPOST_TEST_STACK", "GOALPOST_CACHE_DIR"})


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    for name in all_names() - _KEPT:
        os.environ.pop(name, None)
