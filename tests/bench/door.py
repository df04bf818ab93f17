"""The webhook service: requests per second and latency, against the floor and against the seed's handler.

The three take the same requests from the same generator in turns, so that all see the same mood of the machine.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.load import Outcome
from tests.bench.requesting import Plan
from tests.bench.results import Result, Target, median_ratio, percentile
from tests.bench.servers import Server, floor_server, plan, seed_server, webhook_service
from tests.stack import running_stack

_CONNECTIONS: Final = (64, 256)
_TARGETS: Final = (Target(figure="ratio_to_floor", at_least=0.6), Target(figure="ratio_to_seed_handler", at_least=6))
_HALF_LOAD_TARGETS: Final = (Target(figure="p99_ms", at_most=50),)


@dataclass(slots=True)
class _Rounds:
    """What several rounds of the same load on one server gave, round by round."""

    requests_per_s: list[float] = field(default_factory=list)
    cpu_seconds_per_request: list[float] = field(default_factory=list)
    latencies_seconds: list[float] = field(default_factory=list)
    generator_busy: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome, cpu_seconds: float) -> None:
        self.requests_per_s.append(len(outcome.statuses) / outcome.seconds)
        self.cpu_seconds_per_request.append(cpu_seconds / len(outcome.statuses))
        self.latencies_seconds += outcome.latencies_seconds
        self.generator_busy.append(outcome.cpu_seconds / outcome.seconds)


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Measure the door at 64 and 256 connections, then its latency at half of what it can take."""
    seconds, rounds = (1.0, 3) if quick else (4.0, 5)
    with running_stack(home / "stack") as stack, ExitStack() as running:
        door = running.enter_context(webhook_service(stack, home))
        servers = (
            door,
            running.enter_context(floor_server(stack, home)),
            running.enter_context(seed_server(stack.database_url, home)),
        )
        for server in servers:
            server.take(plan(connections=_CONNECTIONS[0], seconds=1.0), home)  # connections, caches, first batches
        results = [
            _compared(servers, plan(connections=connections, seconds=seconds), rounds, home)
            for connections in _CONNECTIONS
        ]
        results.append(_at_half_load(door, results[0].value / 2, seconds * 2, home))
        for server in servers:
            server.require_kept_promises()
    return results


def _compared(servers: tuple[Server, Server, Server], load: Plan, rounds: int, home: Path) -> Result:
    door, floor, seed = found = tuple(_Rounds() for _ in servers)
    for _ in range(rounds):
        for server, its in zip(servers, found, strict=True):
            its.add(*server.take(load, home))
    return Result(
        bench="door",
        value=statistics.median(door.requests_per_s),
        unit="requests/s",
        figures={
            "ratio_to_floor": median_ratio(door.requests_per_s, floor.requests_per_s),
            "ratio_to_seed_handler": median_ratio(door.requests_per_s, seed.requests_per_s),
            "p50_ms": 1000 * percentile(door.latencies_seconds, 0.5),
            "p99_ms": 1000 * percentile(door.latencies_seconds, 0.99),
            "connections": load.connections,
            "floor_requests_per_s": statistics.median(floor.requests_per_s),
            "seed_handler_requests_per_s": statistics.median(seed.requests_per_s),
            # By requests that a CPU second of the server pays for: what else the machine does matters less here.
            "ratio_to_floor_by_cpu": median_ratio(floor.cpu_seconds_per_request, door.cpu_seconds_per_request),
            "cpu_us_per_request": 1e6 * statistics.median(door.cpu_seconds_per_request),
            "floor_cpu_us_per_request": 1e6 * statistics.median(floor.cpu_seconds_per_request),
            # Near 1 the generator is the limit, and the servers look more alike than they are.
            "generator_busy_at_floor": max(floor.generator_busy),
        },
        targets=_TARGETS,
    )


def _at_half_load(door: Server, rate_per_s: float, seconds: float, home: Path) -> Result:
    load = plan(connections=_CONNECTIONS[0], seconds=seconds, rate_per_s=rate_per_s)
    outcome, _ = door.take(load, home)
    p99_ms = 1000 * percentile(outcome.latencies_seconds, 0.99)
    return Result(
        bench="door_at_half_load",
        value=p99_ms,
        unit="ms",
        figures={
            "p50_ms": 1000 * percentile(outcome.latencies_seconds, 0.5),
            "p99_ms": p99_ms,
            "rate_per_s": rate_per_s,
            "connections": load.connections,
        },
        targets=_HALF_LOAD_TARGETS,
    )
