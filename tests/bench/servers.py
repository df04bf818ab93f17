"""The HTTP servers that are compared: the webhook service, its floor, and the seed's handler.

Each takes load through the same generator and is checked afterwards: what it promised has to be stored, exactly once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from runtime.registry import Registry
from runtime.vault import generate_key
from sandbox.stack import Addresses
from schemas.records import EVENT_ID_HEADER, header
from schemas.topics import RAW
from tests.bench import floor, material, tables
from tests.bench.load import Outcome, drive
from tests.bench.processes import Process, free_port
from tests.bench.records import Cluster
from tests.bench.requesting import Plan
from tests.bench.results import require

HOOK: Final = "/functions/v1/crm-conversion-hook"
REQUEST_BODY: Final = (
    '{"session_id":"session-%(session)06d","goal_name":"payment_success","goal_value":5000,'
    '"currency":"RUB","order_id":"deal-%(number)010d"}'
)


@dataclass(slots=True, kw_only=True)
class Server:
    """A server under load. ``verify`` compares what its answers promised with what is stored."""

    process: Process
    port: int
    success: int
    verify: Callable[[list[Outcome]], None]
    outcomes: list[Outcome] = field(default_factory=list)

    def take(self, plan: Plan, home: Path) -> tuple[Outcome, float]:
        """Put the server under load; return what came back and the CPU seconds that it took the server.

        Raises:
            Unverified: a request was refused.
        """
        taken = sum(len(outcome.statuses) for outcome in self.outcomes)
        before = self.process.cpu_seconds()
        outcome = drive(replace(plan, port=self.port, first_number=taken), home)
        spent = self.process.cpu_seconds() - before
        self.outcomes.append(outcome)
        refused = {status: count for status, count in Counter(outcome.statuses).items() if status != self.success}
        require(not refused, f"{self.process.name} refused requests; how many by status: {refused}")
        return outcome, spent

    def require_kept_promises(self) -> None:
        """Compare everything that was answered with everything that is stored.

        Raises:
            Unverified: they differ.
        """
        self.verify(self.outcomes)


def plan(*, connections: int, seconds: float, rate_per_s: float = 0.0, secret: str = material.WEBHOOK_SECRET) -> Plan:
    """Return the load of a benchmark: every request is another order of another session."""
    return Plan(
        port=0,  # each server has its own
        path=HOOK,
        body=REQUEST_BODY,
        connections=connections,
        seconds=seconds,
        rate_per_s=rate_per_s,
        sessions=material.SESSION_COUNT,
        headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
    )


@contextmanager
def webhook_service(stack: Addresses, home: Path) -> Iterator[Server]:
    """Run ``goalpost webhook`` with one webhook."""
    cluster = Cluster(stack.kafka_bootstrap_servers)
    cluster.write([material.webhook_record(Registry(stack.schema_registry_url))])
    port, health = free_port(), free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "GOALPOST_HEALTH_PORT": str(health),
        "GOALPOST_SECRET_KEY": generate_key(),
        "GOALPOST_SESSIONS_WRITE_KEY": material.new_id(),
        "GOALPOST_WEBHOOK_PORT": str(port),
    }
    with Process("webhook", ("goalpost", "webhook"), home=home, settings=settings) as process:
        process.wait_until_ready(f"http://127.0.0.1:{health}/readyz")
        yield Server(process=process, port=port, success=202, verify=_topic_keeps_promises(cluster, RAW.name))


@contextmanager
def floor_server(stack: Addresses, home: Path) -> Iterator[Server]:
    """Run the least that a webhook can do."""
    cluster = Cluster(stack.kafka_bootstrap_servers)
    cluster.create(floor.TOPIC)
    port = free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "BENCH_SECRET": material.WEBHOOK_SECRET,
        "BENCH_PORT": str(port),
    }
    with Process("floor", ("tests.bench.floor",), home=home, settings=settings) as process:
        process.wait_until_ready(f"http://127.0.0.1:{port}/")
        yield Server(process=process, port=port, success=202, verify=_topic_keeps_promises(cluster, floor.TOPIC))


@contextmanager
def seed_server(database_url: str, home: Path) -> Iterator[Server]:
    """Run the seed's handler on a table of 100 000 sessions."""
    tables.fill(database_url)
    goals_before = tables.goals(database_url).others

    def verify(outcomes: list[Outcome]) -> None:
        promised = sum(len(outcome.statuses) for outcome in outcomes)
        stored = tables.goals(database_url).others - goals_before
        require(stored == promised, f"the seed's handler confirmed {promised} goals, its rows have {stored}")

    port = free_port()
    settings = {"DATABASE_URL": database_url, "BENCH_PORT": str(port)}
    with Process("seed-handler", ("tests.bench.seed_handler",), home=home, settings=settings) as process:
        process.wait_until_ready(f"http://127.0.0.1:{port}/readyz")
        yield Server(process=process, port=port, success=200, verify=verify)


def _topic_keeps_promises(cluster: Cluster, topic: str) -> Callable[[list[Outcome]], None]:
    since = cluster.ends(topic)

    def verify(outcomes: list[Outcome]) -> None:
        promised = Counter(event_id for outcome in outcomes for event_id in outcome.event_ids())
        stored = Counter(header(record.headers, EVENT_ID_HEADER) or "" for record in cluster.read(topic, since=since))
        requests = sum(len(outcome.statuses) for outcome in outcomes)
        require(len(promised) == requests, f"{topic}: {requests} requests were answered with {len(promised)} ids")
        lost, unasked = len(promised - stored), len(stored - promised)
        require(promised == stored, f"{topic}: of {len(promised)} events {lost} are missing, {unasked} are too many")

    return verify
