"""How commands answer, on standard output: rich on a terminal, wide plain text in a pipe, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

# A pipe has no width; at rich's default of 80 a table of ids would be cut into pieces.
_PIPE_COLUMNS: Final = 200

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def output() -> Console:
    """Return the console for results. Markup is off: what is printed often comes from outside."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def progress_output() -> Console:
    """Return the console for what a person may watch meanwhile; silent where nobody does."""
    return Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())


def show(content: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print ``content`` as JSON, or ``lines``."""
    click.echo(_json(content) if as_json else "\n".join(lines))


def show_rows(name: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool, hint: str) -> None:
    """Print ``rows`` as ``{name: [...]}``, or as a table; where there are none, print ``hint``."""
    if as_json:
        click.echo(_json({name: rows}))
        return
    if not rows:
        click.echo(hint)
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    output().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, default=_cell)
