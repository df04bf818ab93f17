"""Blows under load, and what came of each."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import psutil  # type: ignore[import-untyped]  # psutil comes without stubs
import psycopg

from sandbox.pipeline import Pipeline
from sandbox.stack import KAFKA
from tests.e2e.outside import Outside
from tests.outages.looking import Look
from tests.outages.schedule import Blow, Kind
from tests.outages.traffic import Traffic

# Who has not caught up by then counts as wedged ...
WEDGED_SECONDS: Final = 30.0
# ... and is waited for so much longer, to say for how long it was.
_GIVEN_UP_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 0.5
# So many seconds of events may be on their way through a group at any time: a machine that is short of processors.
_ON_THE_WAY_SECONDS: Final = 8.0
_SETTLE_SECONDS: Final = 120.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Seconds until each process had caught up after each blow, who had not in time, and what became of the events."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    wedges: list[str] = field(default_factory=list)
    restarts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    lost: int = 0
    doubled: int = 0
    refused: list[str] = field(default_factory=list)


def play(
    pipeline: Pipeline, blows: Iterable[Blow], *, rate_per_s: float, run: str, say: Callable[[str], None] = print
) -> Outcome:
    """Let the blows fall on the pipeline, which somebody else tends, while events flow; then count every event."""
    outcome = Outcome()
    outside = Outside(pipeline)
    look = Look(pipeline, allowed=round(_ON_THE_WAY_SECONDS * rate_per_s))
    traffic = Traffic(outside, run, rate_per_s=rate_per_s)
    traffic.start()
    try:
        for number, blow in enumerate(blows, start=1):
            time.sleep(blow.pause)
            before = pipeline.pids()
            _strike(pipeline, blow, look)
            caught_up, problems = _caught_up(look)
            after = pipeline.pids()
            outcome.restarts.update(name for name, pid in after.items() if name != KAFKA and before.get(name) != pid)
            for name, seconds in caught_up.items():
                outcome.seconds.setdefault(name, []).append(seconds)
                if seconds > WEDGED_SECONDS:
                    outcome.wedges.append(f"{name} after blow {number}, {blow}: {seconds:.0f} s, {problems[name]}")
                    say(outcome.wedges[-1])
            slowest = max(caught_up, key=lambda name: caught_up[name])
            say(f"{number:3d}  {blow!s:18}  all caught up in {caught_up[slowest]:.1f} s, {slowest} last")
    finally:
        traffic.finish()
    _count(outside, traffic, run, outcome)
    return outcome


def _strike(pipeline: Pipeline, blow: Blow, look: Look) -> None:
    """Return when Kafka goes on, or answers again."""
    pid = pipeline.pids()[KAFKA]
    if blow.kind is Kind.FREEZE:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            process.suspend()
        time.sleep(blow.seconds)
        for process in reversed(processes):
            process.resume()
        return
    os.kill(pid, signal.SIGKILL)
    while not look.kafka_answers():
        time.sleep(_LOOK_SECONDS)


def _caught_up(look: Look) -> tuple[dict[str, float], dict[str, str]]:
    """Return after how many seconds each process had caught up, for good, and what it lacked before that."""
    began = time.monotonic()
    since: dict[str, float] = {}
    problems: dict[str, str] = {}
    while (now := time.monotonic() - began) < _GIVEN_UP_SECONDS:
        behind = look.behind()
        problems |= behind
        for name in look.processes:
            if name in behind:
                since[name] = float("inf")
            elif since.get(name, float("inf")) == float("inf"):
                since[name] = now
        if not behind and now - max(since.values()) > 2 * _LOOK_SECONDS:
            break
        time.sleep(_LOOK_SECONDS)
    return {name: min(seconds, _GIVEN_UP_SECONDS) for name, seconds in since.items()}, problems


def _count(outside: Outside, traffic: Traffic, run: str, outcome: Outcome) -> None:
    """Compare what was taken with what is stored, appended and uploaded."""
    promised = set(traffic.taken.values())
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline and not _all_sent(outside, run, promised):
        time.sleep(_LOOK_SECONDS)
    stored = Counter(
        row["id"] for row in outside.query("SELECT id::text FROM webhook_conversions WHERE target LIKE %s", f"{run}%")
    )
    goals = Counter(goal["event_id"] for session in traffic.sessions for goal in outside.goals(session))
    uploaded = Counter(row["Target"] for row in outside.accepted_rows() if row["Target"].startswith(run))
    wanted = Counter(f"{run}_{number}" for number in traffic.taken)
    outcome.events = len(promised)
    outcome.lost = len(promised - set(stored)) + len(promised - set(goals)) + sum((wanted - uploaded).values())
    outcome.doubled = sum((goals - Counter(promised)).values()) + sum((uploaded - wanted).values())
    outcome.refused = traffic.other


def _all_sent(outside: Outside, run: str, promised: set[str]) -> bool:
    try:
        (row,) = outside.query(
            "SELECT count(*) AS sent FROM webhook_conversions WHERE target LIKE %s AND status = 'sent'", f"{run}%"
        )
    except psycopg.OperationalError:
        return False
    return int(row["sent"]) >= len(promised)
