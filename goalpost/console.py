"""How commands answer, on standard output: rich on a terminal, one line a row in a pipe, or one JSON object.

Much of what is printed was written by strangers. Whatever goes to a person's screen goes through here, and what would
steer a terminal or hide on it (escape sequences, marks of direction, characters without a shape) stands as an escape.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from schemas.characters import shown, shown_json, shown_lines

# A pipe has no width: whatever rich is told is where it folds, and `grep` and `cut` need a row to be a line.
_PIPE_COLUMNS: Final = 1_000_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


class Screen(Console):
    """A console that shows text from outside and never obeys it; also in the cells of tables."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return ``text`` as it is to be drawn."""
        return super().render_str(shown_lines(text), **options)

    def show_json(self, content: object) -> None:
        """Print ``content`` as JSON over several lines."""
        self.print(JSONHighlighter()(Text(shown_json(json.dumps(content, ensure_ascii=False, indent=2)))))


def execute_option(
    help_text: str = "Do it; without this nothing is written.", *, by_default: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that has a dry run the parameter ``execute``: the same two options everywhere.

    ``by_default`` is for commands that lose nothing, which a person calls to have it done.
    """
    return click.option("--execute/--dry-run", "execute", default=by_default, show_default=True, help=help_text)


# What --execute of `retention` and `erase` was called before 0.3.0; goes with 0.4.0.
former_execute_option = click.option("--apply", "execute", is_flag=True, flag_value=True, default=False, hidden=True)


def output(*, markup: bool = False) -> Screen:
    """Return the console for results; it folds no line but on a terminal.

    Without ``markup``, because what is printed often comes from outside.
    """
    return Screen(highlight=False, markup=markup, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def progress_output() -> Console:
    """Return the console for what a person may watch meanwhile; silent where nobody does."""
    return Screen(stderr=True, highlight=False, quiet=not sys.stderr.isatty())


def say(text: str, *, err: bool = False) -> None:
    """Print ``text``; ``err``: on standard error, where it does not get into what another program reads."""
    click.echo(shown_lines(text), err=err)


def say_json(content: object) -> None:
    """Print any JSON value on one line."""
    click.echo(as_json_text(content))


def print_json(content: Mapping[str, Any]) -> None:
    """Print the one JSON object that a command with ``--json`` answers with."""
    say_json(content)


def write(text: str) -> None:
    """Print ``text``, which is a part of a document, without a line end."""
    click.echo(text, nl=False)


def show(content: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print ``content`` as JSON, or ``lines``."""
    if as_json:
        print_json(content)
    else:
        say("\n".join(lines))


def show_rows(name: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool, hint: str) -> None:
    """Print ``rows`` as ``{name: [...]}``, or as a table; where there are none, print ``hint``."""
    if as_json:
        print_json({name: rows})
        return
    if not rows:
        say(hint)
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(shown(_cell(value)) for value in row.values()))
    output().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else " ".join(str(value).splitlines())


def as_json_text(content: object) -> str:
    """Return ``content`` as JSON that is fit for a terminal."""
    return shown_json(json.dumps(content, ensure_ascii=False, default=_cell))
