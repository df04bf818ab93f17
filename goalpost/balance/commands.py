"""``goalpost ledger``: does everything that was received add up?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from goalpost.balance import textfile
from goalpost.balance.equations import Balance, Equation
from goalpost.balance.weighing import weighed
from goalpost.console import json_option, output, print_json, progress_output
from goalpost.moment import Moment
from runtime.failures import Fatal, Transient
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load

UNBALANCED: Final = 1
CANNOT_TELL: Final = 2

# Longer than any stage takes for one batch when nothing is wrong.
_GRACE_SECONDS: Final = 60.0
_MOST_NAMED: Final = 20


@click.command()
@click.option("--since", type=Moment(), default=0, help="Only what was received from then on: 2d, 36h, a date.")
@click.option(
    "--grace",
    default=_GRACE_SECONDS,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds for which an event may be between two places.",
)
@click.option("--name", "most_named", default=_MOST_NAMED, show_default=True, help="How many ids to name at most.")
@click.option(
    "--textfile",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write metrics for node_exporter to this file (it must end in .prom).",
)
@json_option
def ledger(*, since: int, grace: float, most_named: int, path: Path | None, as_json: bool) -> None:
    """Balance what was received against where it is, and name what is nowhere.

    received = repeats + stored + waiting + dead-lettered + discarded + on its way; stored = pending + uploaded +
    failed + expired; uploaded rows = rows of accepted uploads. Exit code 0 if all hold, 1 if one does not, 2 if that
    cannot be said, because Kafka or Postgres does not answer. Reads as far back as topics are kept; writes nothing.
    """
    kafka, database = load(KafkaSettings, DatabaseSettings)
    try:
        with progress_output().status("reading") as status:
            balance = weighed(
                bootstrap_servers=kafka.bootstrap_servers,
                database_url=database.database_url.get_secret_value(),
                since_ms=since,
                grace_ms=round(grace * 1000),
                most_named=most_named,
                report=lambda what: status.update(f"reading {what}"),
            )
    except (Fatal, Transient) as exc:
        unclear = click.ClickException(f"it cannot be said: {exc}")
        unclear.exit_code = CANNOT_TELL
        raise unclear from exc
    if path is not None:
        textfile.write(balance, path)
    if as_json:
        print_json(as_content(balance))
    else:
        _print(balance)
    if not balance.holds:
        raise SystemExit(UNBALANCED)


def as_content(balance: Balance) -> dict[str, object]:
    """Return the balance in the types of JSON."""
    equations = [{**asdict(one), "holds": one.holds} for one in balance.equations]
    return {**asdict(balance), "holds": balance.holds, "equations": equations}


def _print(balance: Balance) -> None:
    console = output()
    console.print(f"Received since {balance.since}, read in {balance.seconds} s.")
    for equation in balance.equations:
        console.print(_line_of(equation), style=None if equation.holds else "bold")
        for named in equation.named:
            console.print(f"    {named.name}  {named.place}: {named.why}")
        if equation.broken > len(equation.named):
            console.print(f"    ... and {equation.broken - len(equation.named)} more; --name shows as many as you say.")
    if balance.replayed:
        console.print(f"{balance.replayed} of the events came back from dead letters.")
    if balance.bodies:
        kept = ", ".join(f"{count} {fate}" for fate, count in sorted(balance.bodies.items()))
        console.print(f"Kept request bodies, which are no events yet: {kept}.")
    if not balance.holds:
        console.print("Look at one with `goalpost trace ID`; docs/dead-letters.md says what to do.")


def _line_of(equation: Equation) -> str:
    parts = " + ".join(f"{count} {part.replace('_', ' ')}" for part, count in equation.parts.items())
    verdict = "holds" if equation.holds else f"DOES NOT HOLD, {equation.broken} astray"
    return f"{equation.name}: {equation.total} = {parts}: {verdict}"
