"""``make outages``: Kafka frozen and killed under load; exit code 1 when a process is wedged or an event not once."""

from __future__ import annotations

import logging
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click

from tests.e2e.conftest import tended
from tests.outages.round import WEDGED_SECONDS, Outcome, play
from tests.outages.schedule import schedule


@click.command()
@click.option("--freezes", default=20, show_default=True, help="How often Kafka stands still.")
@click.option("--kills", default=10, show_default=True, help="How often it is killed with SIGKILL and started again.")
@click.option("--shortest", default=10.0, show_default=True, help="Of the freezes, in seconds.")
@click.option("--longest", default=30.0, show_default=True, help="Of the freezes, in seconds.")
@click.option("--rate", default=50.0, show_default=True, help="Events per second.")
@click.option("--seed", type=int, help="Of the order and the lengths. Random if not given; it is printed.")
@click.option("--home", type=click.Path(path_type=Path), help="Keep everything in this folder, logs above all.")
def main(
    freezes: int, kills: int, shortest: float, longest: float, rate: float, seed: int | None, home: Path | None
) -> None:
    """Freeze and kill Kafka under a whole pipeline while events flow; say who came back when, and count every event."""
    # Nothing is left running, whatever ends it.
    signal.signal(signal.SIGTERM, lambda *_: _end())
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())
    logging.getLogger("librdkafka").propagate = False
    seed = random.randrange(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}: {freezes} freezes of {shortest:g}-{longest:g} s and {kills} kills at {rate:g} events/s")
    with ExitStack() as kept:
        folder = home or Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="goalpost-outages-")))
        pipeline = kept.enter_context(tended(folder))
        blows = schedule(seed, freezes=freezes, kills=kills, shortest=shortest, longest=longest)
        outcome = play(pipeline, blows, rate_per_s=rate, run=f"r{time.time_ns() // 1_000_000_000}", say=_say)
    _report(outcome)
    sys.exit(1 if outcome.wedges or outcome.lost or outcome.doubled or outcome.refused else 0)


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


def _report(outcome: Outcome) -> None:
    click.echo("\nseconds until caught up       p50    max")
    for name, seconds in sorted(outcome.seconds.items()):
        click.echo(f"  {name:24}  {statistics.median(seconds):6.1f} {max(seconds):6.1f}")
    click.echo(f"wedged for more than {WEDGED_SECONDS:.0f} s: {len(outcome.wedges)}")
    for wedge in outcome.wedges:
        click.echo(f"  {wedge}")
    click.echo(f"processes that ended and were started again: {dict(outcome.restarts) or 'none'}")
    click.echo(
        f"{outcome.events} events: {outcome.lost} lost, {outcome.doubled} doubled, {len(outcome.refused)} refused"
    )
    for refused in outcome.refused[:5]:
        click.echo(f"  {refused}")


def _end() -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
