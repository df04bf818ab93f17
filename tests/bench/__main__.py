"""``make bench``: measure, and say how the figures stand to their targets."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from tests.bench import door, end_to_end, join, join_backlog, join_load, join_size, sink, upload
from tests.bench.processes import NeverReady
from tests.bench.results import Result, Unverified, print_table

_BENCHMARKS: Final = {
    "door": door.measure,
    "join": join.measure,
    "sink": sink.measure,
    "end_to_end": end_to_end.measure,
    "upload": upload.measure,
    "join_load": join_load.measure,
    "join_size": join_size.measure,
    "join_backlog": join_backlog.measure,
}
# These take minutes of writing before anything is measured: only when asked for by name.
_BY_NAME_ONLY: Final = frozenset({"join_size", "join_backlog", "upload"})


@click.command()
@click.option("--only", type=click.Choice([*_BENCHMARKS]), help="One benchmark instead of all but the longest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
@click.option("--quick", is_flag=True, help="Fewer events and rounds: to see that it works, not for figures.")
def main(only: str | None, as_json: bool, quick: bool) -> None:
    """Measure goalpost against references that run beside it in the same minute, on a stack of its own."""
    # To standard error: standard output holds results only.
    console = Console(stderr=True)
    results: list[Result] = []
    for name, measure in _BENCHMARKS.items():
        if name != only and (only is not None or name in _BY_NAME_ONLY):
            continue
        with console.status(f"measuring: {name}"), tempfile.TemporaryDirectory(prefix="goalpost-bench-") as home:
            try:
                found = measure(Path(home), quick=quick)
            except (Unverified, NeverReady, TimeoutError) as exc:
                raise click.ClickException(f"{name}: {exc}. Figures of work that was not done mean nothing.") from exc
        results += found
        if as_json:
            for result in found:
                click.echo(result.as_json())
    if not as_json:
        print_table(results)


if __name__ == "__main__":
    main()
