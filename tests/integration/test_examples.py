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
from pathlib import Path
from typing import Final

import psycopg
import pytest

from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import CONVERSION_OUTCOMES, RESOLVED_CONVERSIONS
from schemas.events import Conversion, Outcome
from schemas.records import Outgoing
from schemas.topics import CONVERSIONS, OUTCOMES
from tests.java_client import java_command
from tests.unit.schemas.examples import examples, record_of

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def environment(stack: Addresses) -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join((binaries, os.environ["PATH"])),
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": stack.database_url,
    }


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


def _shell_blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_consumer_prints_each_conversion_once(
    environment: dict[str, str], send: Callable[..., None]
) -> None:
    sale, later = _sale(target="deal_won", price=Decimal("12.5000")), _sale()
    command = [sys.executable, "examples/consumers/conversions.py", str(uuid.uuid4())]
    with _running(command, environment) as consumer:
        for record in (sale, sale, later):
            send(record, key=sale.event_id)  # one partition, so that what comes after the repeat is printed after it
        assert _line_with(consumer, sale.event_id).split() == [sale.event_id, "deal_won", "12.5000", "RUB"]
        assert sale.event_id not in _lines_until(consumer, later.event_id)
        assert _ended(consumer) == 0


def test_the_java_consumer_prints_outcomes(
    environment: dict[str, str], send: Callable[[Conversion | Outcome], None], tmp_path: Path
) -> None:
    example = next(one for one in examples("good_accepted") if one.topic == OUTCOMES.name)
    outcome: Outcome = replace(record_of(example), event_id=str(uuid.uuid4()))
    command = java_command(ROOT / "examples/consumers/Outcomes.java", tmp_path)
    with _running([*command, str(uuid.uuid4())], environment) as consumer:
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
    script = next(block for block in _shell_blocks("docs/consumers.md") if "topics read" in block)

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

        command = [sys.executable, "examples/revenue_per_campaign/consumer.py"]
        send(sales[0])
        with _running(command, environment):  # killed with -9 at the end of the block
            _eventually(revenue, (1, Decimal(100)))
        for sale in (sales[0], sales[1], sales[1]):
            send(sale)
        with _running(command, environment) as consumer:
            _eventually(revenue, (2, Decimal(150)))
            assert _ended(consumer) == 0
        assert revenue() == (2, Decimal(150))
