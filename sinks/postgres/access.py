"""Closes everything that the migrations make to everybody but its owner (migration 0014), after each run of them.

A site may grant rights on whole schemas at any time, and Supabase does so for every new table, sequence and function.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, LiteralString

from sinks.postgres.connection import Connection

LEDGER: Final = "goalpost_migrations"

_TABLE: Final = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+) ", re.MULTILINE)
_FUNCTION: Final = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)\(", re.MULTILINE)

_THERE: Final[LiteralString] = "SELECT to_regprocedure('goalpost_close_access(text[], text[])') IS NOT NULL"
_CLOSE: Final[LiteralString] = "SELECT goalpost_close_access(%s, %s)"


def close(connection: Connection, files: Iterable[str]) -> None:
    """Take from strangers what they may do with the tables and functions of these migrations' texts.

    Nothing happens before migration 0014. ``user_analytics`` belongs to the site and is left alone.
    """
    texts = list(files)
    tables = {name for text in texts for name in _TABLE.findall(text)} | {LEDGER}
    functions = {name for text in texts for name in _FUNCTION.findall(text)}
    if connection.execute(_THERE).fetchall()[0][0]:
        connection.execute(_CLOSE, (sorted(tables), sorted(functions)))
