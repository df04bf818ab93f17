"""`python -m tests.faults`, `make faults-metrika`: every fault, a table, and exit code 1 when a promise is broken."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from tests.faults.cases import CASES
from tests.faults.counting import Verdict
from tests.faults.drill import FILES, IN_FULL, play_all, postgres_alone
from tests.faults.table import page, show

# The page tells of one run that anybody can have again.
SEED: Final = 20_240_101
PAGE: Final = Path(__file__).parents[2] / "docs" / "metrika-faults.md"


@click.command()
@click.option("--only", multiple=True, help="Cases whose name contains this; the page is left as it is.")
@click.option("--conversions", default=IN_FULL, show_default=True, type=click.IntRange(FILES, 100_000))
@click.option("--side-by-side", default=3, show_default=True, type=click.IntRange(1, 16), help="Cases at a time.")
@click.option("--seed", default=SEED, show_default=True, help="Of the cases that leave moments or faults to chance.")
def main(only: tuple[str, ...], conversions: int, side_by_side: int, seed: int) -> None:
    """Play the cases, print the table, and write it to docs/metrika-faults.md when all of them were played in full."""
    wanted = [case for case in CASES if not only or any(part in case.name for part in only)]
    if not wanted:
        raise click.BadParameter(f"no case is called so; there are: {', '.join(case.name for case in CASES)}")
    with tempfile.TemporaryDirectory() as folder, postgres_alone(Path(folder) / "stack") as stack:
        verdicts = play_all(
            wanted, stack, Path(folder), conversions=conversions, side_by_side=side_by_side, seed=seed, report=_report
        )
    show(verdicts, Console())
    if not only and conversions >= IN_FULL:
        text = page(verdicts, conversions=conversions, files=FILES, machine=_machine(side_by_side))
        PAGE.write_text(text, encoding="utf-8")
    broken = [verdict for verdict in verdicts if not verdict.kept]
    for verdict in broken:
        click.echo(f"{verdict.case}: {'; '.join(verdict.violations)}", err=True)
    sys.exit(1 if broken else 0)


def _machine(side_by_side: int) -> str:
    load = os.getloadavg()[1]  # of five minutes, about as long as a run
    return f"{os.cpu_count()} cores with {side_by_side} cases side by side (load average {load:.0f})"


def _report(verdict: Verdict) -> None:
    click.echo(f"{'kept' if verdict.kept else 'BROKEN':7} {verdict.case} ({verdict.effort.seconds:.1f} s)", err=True)


if __name__ == "__main__":
    main()
