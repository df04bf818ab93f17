"""The figures as a table: for a terminal, for a pipe, and as the page in the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.faults.counting import Verdict

COLUMNS: Final = (
    "fault",
    "what happens",
    "once",
    "twice",
    "never",
    "refused",
    "uploads",
    "lists",
    "tokens",
    "seconds",
    "kept",
)

PAGE: Final = """# What faults do to uploads

Written by `make faults-metrika`, which starts real uploader processes against the
[simulator](metrika-simulator.md), lets each fault happen and counts there, row by row, what was accepted. Its exit code
is 1 when a promise is broken.

**Required: no row is ever accepted twice, none is ever lost.** A row that Metrika refuses for what it is (`refused`) is
not lost: it is failed with its reason and becomes a dead letter.

{table}

* Each case: {conversions} conversions of one counter in {files} files, a database and a simulator of its own.
* A fault that is not said to be single meets the first three uploads. *Uploads*, *lists* and *tokens* are the requests
  that reached the simulator until everything was settled; without any fault it takes the first line's.
* *Seconds* run from storing the conversions to the last one being processed, restarts of killed processes included, on
  {machine}. The uploader looks for work every 0.3 s, waits 2 s for an answer, and sends a
  file again that Metrika's list does not show for 6 s; in production these are 5 minutes, 40 s and 2 minutes.
* Kills are SIGKILL from outside at a moment that the simulator or Postgres shows: a held request, a held answer, a row
  of the ledger that waits for a lock. Nothing in the uploader knows of the test.
* No Kafka runs: outcomes and dead letters wait in Postgres meanwhile, and no upload waits for them.

`make faults-metrika ARGS="--only kill"` plays some of them; `tests/faults` is the code.
"""


def cells(verdict: Verdict) -> tuple[str, ...]:
    """One line of the table."""
    effort = verdict.effort
    return (
        verdict.case,
        verdict.happens,
        *(str(count) for count in (verdict.once, verdict.twice, verdict.never, verdict.refused)),
        *(str(count) for count in (effort.uploads, effort.lists, effort.tokens)),
        f"{effort.seconds:.1f}",
        "yes" if verdict.kept else "**no**: " + "; ".join(verdict.violations),
    )


def markdown(verdicts: Iterable[Verdict]) -> str:
    """The table as Markdown, which is also what a pipe gets."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *map(cells, verdicts)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(verdicts: Sequence[Verdict], *, conversions: int, files: int, machine: str) -> str:
    """The page of the documentation."""
    spaced = f"{conversions:,}".replace(",", " ")
    return PAGE.format(table=markdown(verdicts), conversions=spaced, files=files, machine=machine)


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print the table: drawn on a terminal, as Markdown elsewhere."""
    if not console.is_terminal:
        print(markdown(verdicts))
        return
    table = Table(*COLUMNS, header_style="bold")
    for verdict in verdicts:
        table.add_row(*cells(verdict), style="" if verdict.kept else "bold red")
    console.print(table)
