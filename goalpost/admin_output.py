"""How admin commands answer: one JSON document, or lines and tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.table import Table

from goalpost.console import output

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


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
