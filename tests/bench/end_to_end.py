"""The whole pipeline at 100 events per second: from the webhook's answer to the row that everybody can see in Postgres.

On the way: to the conversion that everybody can read from its topic.

The reference is the seed's handler at the same rate on the same database. It answers after its commit, so its time is
that of the request; the ratio compares request to commit on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from runtime.registry import Registry
from sandbox.pipeline import Pipeline
from tests.bench import material, tables
from tests.bench.arrivals import Arrivals
from tests.bench.load import Outcome, drive
from tests.bench.records import Cluster
from tests.bench.results import Result, Target, percentile, require
from tests.bench.servers import plan, seed_server
from tests.bench.watching import Watcher

_RATE_PER_S: Final = 100.0
_CONNECTIONS: Final = 16
_TARGETS: Final = (Target(figure="p50_ms", at_most=50), Target(figure="p99_ms", at_most=250))
_JOIN_TARGETS: Final = (Target(figure="p50_ms", at_most=20), Target(figure="p99_ms", at_most=100))
# Short, so that an event of the warm-up whose session is still being read does not wait for minutes.
_SETTINGS: Final = {"GOALPOST_WAITING_DELAYS_SECONDS": "1,5,30"}
_WARM_UP_SECONDS: Final = 3.0

_JOINED_AT_ONCE: Final[LiteralString] = """
SELECT count(*) FROM webhook_conversions WHERE id = ANY(%s::uuid[]) AND attempts = 0 AND goal_appended
"""


class _Journey:
    """The pipeline under load, and what it has answered."""

    def __init__(self, pipeline: Pipeline, watcher: Watcher, arrivals: Arrivals, home: Path) -> None:
        self._port = int(pipeline.webhook_url.rpartition(":")[2])
        self._secret = pipeline.credentials.webhook_secret
        self._watcher = watcher
        self._arrivals = arrivals
        self._home = home
        # The last sessions are read last: once conversions of those are stored, the join knows all.
        self._next_number = material.SESSION_COUNT - round(_WARM_UP_SECONDS * _RATE_PER_S)
        self.outcomes: list[Outcome] = []

    def warm_up(self) -> None:
        """Send events until the pipeline has everything that it keeps."""
        self.take(_WARM_UP_SECONDS)
        self.outcomes.clear()

    def take(self, seconds: float) -> None:
        """Send events at the rate and wait until all are visible."""
        load = plan(connections=_CONNECTIONS, seconds=seconds, rate_per_s=_RATE_PER_S, secret=self._secret)
        outcome = drive(replace(load, port=self._port, first_number=self._next_number), self._home)
        require(set(outcome.statuses) == {202}, f"the webhook answered with {set(outcome.statuses)}")
        self._next_number += len(outcome.statuses)
        self._watcher.wait_for(outcome.event_ids())
        self.outcomes.append(outcome)

    def event_ids(self) -> list[str]:
        """Of all events that count."""
        return [event_id for outcome in self.outcomes for event_id in outcome.event_ids()]

    def seconds_from_answer(self) -> list[float]:
        """How long after its answer each event was visible; one that was visible before it counts as at once."""
        return [max(0.0, self._visible(event_id) - answered_at) for event_id, answered_at, _ in self._answers()]

    def seconds_to_conversion(self) -> list[float]:
        """How long after its answer each event's conversion could be read from ``crm.conversions``."""
        return [
            max(0.0, self._arrivals.seen_at[event_id] - answered_at) for event_id, answered_at, _ in self._answers()
        ]

    def seconds_from_request(self) -> list[float]:
        """How long after its request was due each event was visible."""
        return [self._visible(event_id) - (answered_at - latency) for event_id, answered_at, latency in self._answers()]

    def _answers(self) -> Iterator[tuple[str, float, float]]:
        for outcome in self.outcomes:
            yield from zip(outcome.event_ids(), outcome.answered_at, outcome.latencies_seconds, strict=True)

    def _visible(self, event_id: str) -> float:
        return self._watcher.visible_at[event_id]


def measure(home: Path, *, quick: bool) -> list[Result]:
    """Measure rounds of ten seconds, in turns with the seed's handler."""
    seconds, rounds = (3.0, 1) if quick else (10.0, 2)
    load = plan(connections=_CONNECTIONS, seconds=seconds, rate_per_s=_RATE_PER_S)
    with Pipeline(home / "pipeline", environ=_SETTINGS, report=lambda _: None) as pipeline:
        pipeline.start()
        database_url = pipeline.addresses.database_url
        arriving = Arrivals(pipeline.addresses.kafka_bootstrap_servers)
        with seed_server(database_url, home) as seed, Watcher(database_url) as watcher, arriving as arrivals:
            _publish_sessions(pipeline)
            journey = _Journey(pipeline, watcher, arrivals, home)
            journey.warm_up()
            seed.take(replace(load, seconds=_WARM_UP_SECONDS), home)
            goals_before = tables.goals(database_url).ours
            latencies: list[float] = []
            for _ in range(rounds):
                journey.take(seconds)
                latencies += seed.take(load, home)[0].latencies_seconds
            seed.require_kept_promises()
            _verify(database_url, journey.event_ids(), tables.goals(database_url).ours - goals_before)
    return [_joined(journey), _result(journey, latencies)]


def _publish_sessions(pipeline: Pipeline) -> None:
    """Make the sessions of the site's rows known to the join."""
    registry = Registry(pipeline.addresses.schema_registry_url)
    records = material.session_records(registry, count=material.SESSION_COUNT, now_ms=material.now_ms())
    Cluster(pipeline.addresses.kafka_bootstrap_servers).write(records)


def _verify(database_url: str, event_ids: list[str], goals_appended: int) -> None:
    """See that each event became one row with its goal, none by way of the waiting room."""
    sent = len(event_ids)
    require(len(set(event_ids)) == sent, "an event id was given twice")
    with psycopg.connect(database_url) as database:
        found = database.execute(_JOINED_AT_ONCE, (event_ids,)).fetchone()
    require(found == (sent,), f"{found} of {sent} events were joined at once and have their goal")
    require(goals_appended == sent, f"{sent} goals were to be appended, user_analytics has {goals_appended} more")


def _joined(journey: _Journey) -> Result:
    seconds = journey.seconds_to_conversion()
    p50_ms = 1000 * percentile(seconds, 0.5)
    return Result(
        bench="answer_to_conversion",
        value=p50_ms,
        unit="ms",
        figures={"p50_ms": p50_ms, "p99_ms": 1000 * percentile(seconds, 0.99), "rate_per_s": _RATE_PER_S},
        targets=_JOIN_TARGETS,
    )


def _result(journey: _Journey, seed_latencies: list[float]) -> Result:
    from_answer, from_request = journey.seconds_from_answer(), journey.seconds_from_request()
    p50_ms = 1000 * percentile(from_answer, 0.5)
    from_request_p50_ms, seed_p50_ms = 1000 * percentile(from_request, 0.5), 1000 * percentile(seed_latencies, 0.5)
    return Result(
        bench="end_to_end",
        value=p50_ms,
        unit="ms",
        figures={
            "p50_ms": p50_ms,
            "p99_ms": 1000 * percentile(from_answer, 0.99),
            "rate_per_s": _RATE_PER_S,
            # Below 1 means sooner than the seed's handler, above 1 later.
            "ratio_to_seed_handler": from_request_p50_ms / seed_p50_ms,
            "from_request_p50_ms": from_request_p50_ms,
            "from_request_p99_ms": 1000 * percentile(from_request, 0.99),
            "seed_handler_p50_ms": seed_p50_ms,
            "seed_handler_p99_ms": 1000 * percentile(seed_latencies, 0.99),
        },
        targets=_TARGETS,
    )
