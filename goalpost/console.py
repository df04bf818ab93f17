"""Where commands print for people: rich on a terminal, wide plain text in a pipe. Results go to standard output."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

# A pipe has no width; at rich's default of 80 a table of ids would be cut into pieces.
_PIPE_COLUMNS: Final = 200


def output() -> Console:
    """Return the console for results. Markup is off: what is printed often comes from outside."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def progress_output() -> Console:
    """Return the console for what a person may watch meanwhile; silent where nobody does."""
    return Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())
