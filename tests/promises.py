"""The one seed of the tests of promises: kills, churn, faults and outages happen at moments that chance decides.

A run says its seed, and a failed one says it again: `--promise-seed N` plays the same moments once more. How they meet
is up to the machine, so a promise that fails once is broken, and passing when it is tried again proves nothing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Generator
from typing import Any, Final

import pytest

VARIABLE: Final = "GOALPOST_TEST_SEED"
MARK: Final = "promise"
_KEPT: Final = "goalpost/promise-seed"
_LARGEST: Final = 2**31


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the seed, and the one by which CI leaves nothing out."""
    parser.addoption(
        "--promise-seed",
        type=_seed,
        help=f"Seed of the tests of promises; else {VARIABLE}, else that of the run whose failures are run again "
        "(--last-failed), else a random one, which is said.",
    )
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="A test that finds something missing fails; only skipif, which names the platform, leaves one out.",
    )


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < _LARGEST:
        raise ValueError(f"a seed is a number from 0 to {_LARGEST - 1}")
    return seed


def pytest_configure(config: pytest.Config) -> None:
    """Decide the seed; a worker process takes that of the run."""
    named = os.environ.pop(VARIABLE, None)  # else the processes under test would refuse a setting that they do not know
    if hasattr(config, "workerinput"):
        config.option.promise_seed = config.workerinput[_KEPT]
        return
    if config.option.promise_seed is None:
        config.option.promise_seed = _chosen(config, named)
    if config.cache is not None:
        config.cache.set(_KEPT, config.option.promise_seed)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker process of pytest-xdist, which reads the command line anew, the seed of the run."""
    node.workerinput[_KEPT] = node.config.option.promise_seed


def _chosen(config: pytest.Config, named: str | None) -> int:
    if named is not None:
        return _seed(named)
    again = config.cache.get(_KEPT, None) if config.cache is not None and _is_a_rerun(config) else None
    return random.randrange(_LARGEST) if again is None else int(again)


def _is_a_rerun(config: pytest.Config) -> bool:
    return bool(config.getoption("lf", default=False) or config.getoption("failedfirst", default=False))


def pytest_report_header(config: pytest.Config) -> str:
    """Say the seed at the beginning."""
    return f"promises: --promise-seed {config.option.promise_seed}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say the seed where a promise is broken; make of a skipped test a failed one where nothing may be left out."""
    report = yield
    if report.failed and item.get_closest_marker(MARK) is not None:
        report.sections.append(("promise", f"play it again with --promise-seed {item.config.option.promise_seed}"))
    if report.skipped and item.config.option.no_skips and not _may_be_skipped(item, report):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing may be left out here: {report.longrepr}"
    return report


def _may_be_skipped(item: pytest.Item, report: pytest.TestReport) -> bool:
    return hasattr(report, "wasxfail") or item.get_closest_marker("skipif") is not None


@pytest.fixture(scope="session")
def promise_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run."""
    return int(request.config.option.promise_seed)
