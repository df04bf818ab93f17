"""The ``goalpost`` command: one table of subcommands, each imported only when it is called.

Settings that the environment does not have are read from ``.env`` in the working directory (python-dotenv's rules).
Exit codes: 0 done, 1 it could not be done (the message says what to do next), 2 wrong usage or settings.
"""

from __future__ import annotations

import inspect
import io
import logging
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from goalpost.table import COMMANDS, FETCHERS, SINKS, Entry
from runtime.failures import Fatal, Transient
from schemas.characters import shown_lines

_OURS: Final = frozenset({"producers", "streams", "sinks", "schemas", "runtime", "sandbox", "goalpost"})


def load_command(entry: Entry) -> click.Command:
    """Import the command that ``entry`` names; a plain function becomes one with the entry's summary as its help.

    Raises:
        click.ClickException: a package that only an extra installs is missing, or the sandbox is not installed.
    """
    module_name, _, attribute = entry.target.partition(":")
    try:
        target = getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as exc:
        if exc.name in ("sandbox", module_name) and module_name.startswith("sandbox"):
            raise click.ClickException(
                f"`goalpost {entry.name}` belongs to the sandbox, which is not installed. Run it in a checkout: make up"
            ) from exc
        if (exc.name or "").partition(".")[0] in _OURS:
            raise
        raise click.ClickException(
            f"`goalpost {entry.name}` needs the package {exc.name}. Install it with: pip install 'goalpost[sandbox]'"
        ) from exc
    return target if isinstance(target, click.Command) else _command_of(entry, target)


def _command_of(entry: Entry, function: Callable[[], int | None]) -> click.Command:
    def run() -> None:
        sys.exit(function() or 0)

    return click.Command(entry.name, callback=run, help=inspect.getdoc(function) or entry.summary)


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports only the one that is called."""

    def __init__(self, *, entries: Iterable[Entry] = (), **options: Any) -> None:
        super().__init__(**options)
        self._entries = {entry.name: entry for entry in entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        entry = self._entries.get(cmd_name)
        return None if entry is None else load_command(entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands by audience, from the table alone."""
        width = max(len(name) for name in self._entries)
        for audience in dict.fromkeys(entry.audience for entry in self._entries.values()):
            rows = [
                (entry.name.ljust(width), entry.summary)
                for entry in self._entries.values()
                if entry.audience == audience
            ]
            with formatter.section(audience):
                formatter.write_dl(rows)


class Command(LazyGroup):
    """The top of the tree: what ends a command for a known reason becomes a message, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except click.ClickException as exc:
            exc.message = shown_lines(exc.message)
            raise
        except (Fatal, Transient) as exc:
            raise click.ClickException(shown_lines(str(exc))) from exc
        except Exception as exc:
            if not _is_bad_settings(exc):
                raise
            refused = click.ClickException(shown_lines(str(exc)))
            refused.exit_code = 2
            raise refused from exc


def _is_bad_settings(error: Exception) -> bool:
    """Tell without importing the settings (a third of a second): whoever raised it has imported them."""
    settings = sys.modules.get("runtime.settings")
    return settings is not None and isinstance(error, settings.BadSettings)


sink = LazyGroup(
    name="sink",
    entries=SINKS,
    help="Run one sink: what takes resolved conversions out of the pipeline into the world.",
)

fetch = LazyGroup(
    name="fetch",
    entries=FETCHERS,
    help="Complete what a CRM's webhook only points at, from the CRM's API.",
)


@click.group(cls=Command, entries=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="goalpost", message="%(prog)s %(version)s")
def main() -> None:
    """CRM webhooks to Yandex Metrika offline conversions, over Kafka.

    An event that was answered with 2xx ends stored and uploaded, waiting, or as a dead letter: `goalpost trace` says
    which, `goalpost dlq` brings dead letters back. Settings come from the environment, else from .env here;
    .env.example describes each one. Start with `goalpost demo`, or with `goalpost doctor` on a stack of your own.
    """
    # Kafka's client has no place on a person's screen: what matters of it reaches them as an error. Processes that
    # configure logs hear it all the same.
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())
    # Half of a surrogate pair, which JSON can hold and no terminal can show, ends no command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    dotenv = Path(".env")
    if dotenv.is_file():
        import_module("dotenv").load_dotenv(dotenv, override=False)
