"""``make churn``: rounds of the churn test, each with a seed of its own; the exit code is 1 when an event was lost."""

from __future__ import annotations

import logging
import random
import signal
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from tests.churn.display import display
from tests.churn.report import lines_of
from tests.churn.round import CONTROL, GOALPOST, Outcome, Plan, Round, System


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How many.")
@click.option("--seed", type=int, help="Of the first round; each further one has the next number. Random if not given.")
@click.option("--seconds", default=60.0, show_default=True, help="How long events flow in a round.")
@click.option("--rate", default=600.0, show_default=True, help="Events per second.")
@click.option("--control", is_flag=True, help="Test the stock Faust join with a Table instead: it can lose events.")
def main(rounds: int, seed: int | None, seconds: float, rate: float, control: bool) -> None:
    """Start, stop and kill the join's workers and the broker at random while events flow, then count every event."""
    # A round leaves nothing running, whatever ends it.
    signal.signal(signal.SIGTERM, lambda *_: _end())
    # While the broker is away, its clients say so several times a second.
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())
    logging.getLogger("librdkafka").propagate = False
    system = CONTROL if control else GOALPOST
    first = random.randrange(1_000_000) if seed is None else seed
    outcomes = {
        number: _play(system, Plan(seed=number, seconds=seconds, rate_per_s=rate))
        for number in range(first, first + rounds)
    }
    click.echo()
    for number, outcome in outcomes.items():
        found = outcome.account
        verdict = "clean" if found.clean else f"{len(found.lost)} lost"
        click.echo(f"{system.name}, seed {number}: {found.events} events, {found.repeats} repeats, {verdict}")
    bad = sum(not outcome.account.clean for outcome in outcomes.values())
    raise SystemExit(1 if bad else 0)


def _end() -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _play(system: System, plan: Plan) -> Outcome:
    title = f"{system.name}, seed {plan.seed}"
    with display(title) as shown, tempfile.TemporaryDirectory(prefix="goalpost-churn-") as home:
        shown.line(f"{title}: {plan.seconds:.0f} s at {plan.rate_per_s:.0f} events/s")
        outcome = Round(plan=plan, system=system, home=Path(home), display=shown).run()
        for line in lines_of(outcome):
            shown.line(f"          {line}")
    return outcome


if __name__ == "__main__":
    main()
