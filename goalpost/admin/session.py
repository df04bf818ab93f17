"""What every admin command needs: settings, a connection, and the row that a person names."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from psycopg.rows import dict_row

from goalpost.admin.registration import Connection
from runtime.sections import DatabaseSettings, VaultSettings
from runtime.settings import load
from runtime.vault import Vault
from sinks.postgres.connection import connect, translated_errors


@contextmanager
def database() -> Iterator[Connection]:
    """A transaction on the database of DATABASE_URL: everything or nothing of a command is written.

    Raises:
        sinks.postgres.connection.PostgresUnavailable: no answer.
        runtime.failures.Fatal: the tables are not there, or not writable.
    """
    (settings,) = load(DatabaseSettings)
    with (
        connect(settings.database_url.get_secret_value(), application_name="goalpost-admin") as connection,
        translated_errors(),
        connection.transaction(),
    ):
        yield connection


def wake_uploads(connection: Connection) -> None:
    """Let a Metrika sink look for work when the command's transaction is committed."""
    connection.execute("NOTIFY goalpost_stored")


def vault() -> Vault:
    """The vault of GOALPOST_SECRET_KEY."""
    (settings,) = load(VaultSettings)
    return Vault(settings.secret_key.get_secret_value())


def rows(connection: Connection, query: str, *parameters: object) -> list[dict[str, Any]]:
    """Return what ``query`` finds, as dictionaries."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def the_one(kind: str, found: Sequence[dict[str, Any]], wanted: str | None, *, by: Sequence[str]) -> dict[str, Any]:
    """Return the row that ``wanted`` names by one of the columns ``by``; without a wish, the only row there is.

    Raises:
        click.ClickException: none fits, or several do.
    """
    fitting = [row for row in found if wanted is None or wanted in {str(row[column]) for column in by}]
    if len(fitting) == 1:
        return fitting[0]
    listing = f"`goalpost admin {kind} list` shows what there is."
    if not found:
        raise click.ClickException(f"There is no {kind} yet. Make one with `goalpost admin {kind} add`.")
    if wanted is None:
        raise click.ClickException(f"There are {len(found)} of kind {kind}; say which one by --{kind}. {listing}")
    problem = "No" if not fitting else "More than one"
    raise click.ClickException(f"{problem} {kind} is called {wanted!r}. {listing}")


def secret_from(given: str | None, what: str) -> str:
    """Return a secret: as given, or typed without echo, or the first line of a piped standard input.

    Raises:
        click.ClickException: it is empty.
    """
    if given is None or given == "-":
        given = click.prompt(what, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    secret = str(given).strip()
    if not secret:
        raise click.ClickException(f"{what} is empty. Pipe it in, or type it when asked.")
    return secret
