"""The ``goalpost`` command: one table of subcommands, each imported only when it is called.

Settings that the environment does not have are read from ``.env`` in the working directory (python-dotenv's rules).
Exit codes: 0 done, 1 it could not be done (the message says what to do next), 2 wrong usage or settings.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from runtime.failures import Fatal, Transient

_OURS: Final = frozenset({"producers", "streams", "sinks", "schemas", "runtime", "sandbox", "goalpost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One subcommand: ``target`` is ``module:attribute``, a click command or a plain function without arguments."""

    name: str
    target: str
    summary: str
    audience: str = "Commands"


COMMANDS: Final = (
    Entry(
        audience="Try it",
        name="demo",
        target="sandbox.commands:demo",
        summary="Show the whole journey of events on an embedded stack.",
    ),
    Entry(
        audience="Try it",
        name="up",
        target="sandbox.commands:up",
        summary="Run the stack and every service until Ctrl-C; restart what dies.",
    ),
    Entry(audience="Try it", name="down", target="sandbox.commands:down", summary="End what `goalpost up` started."),
    Entry(
        audience="Try it",
        name="sandbox",
        target="sandbox.commands:sandbox",
        summary="Start parts of the stack by hand: Kafka, registry, Postgres, Metrika simulator.",
    ),
    Entry(
        audience="Run (one process each)",
        name="webhook",
        target="producers.__main__:main",
        summary="Take conversions and sessions over HTTP into Kafka.",
    ),
    Entry(
        audience="Run (one process each)",
        name="stream",
        target="streams.__main__:main",
        summary="Join conversions with web sessions.",
    ),
    Entry(
        audience="Run (one process each)",
        name="sink",
        target="goalpost.cli:sink",
        summary="Store conversions in Postgres; upload them to Metrika.",
    ),
    Entry(
        audience="Run (one process each)",
        name="fetch",
        target="goalpost.cli:fetch",
        summary="Read what a CRM's webhook only points at: deals of Bitrix24.",
    ),
    Entry(
        audience="Run (one process each)",
        name="sessions",
        target="goalpost.sessions.commands:sessions",
        summary="Bring the sessions of an existing user_analytics: once (backfill), or for good (follow).",
    ),
    Entry(
        audience="Set up",
        name="topics",
        target="goalpost.topics:topics",
        summary="Create Kafka topics and register their schemas; check them.",
    ),
    Entry(
        audience="Set up",
        name="migrate",
        target="sinks.postgres.migrate:main",
        summary="Bring the Postgres tables up to date.",
    ),
    Entry(
        audience="Set up",
        name="admin",
        target="goalpost.admin:admin",
        summary="Add and list Yandex accounts, counters, webhooks and keys.",
    ),
    Entry(
        audience="Look",
        name="doctor",
        target="goalpost.doctor:doctor",
        summary="Check every dependency and setting; say what to do.",
    ),
    Entry(
        audience="Look",
        name="trace",
        target="goalpost.trace:trace",
        summary="Show the whole way of an event, an order or an upload.",
    ),
    Entry(
        audience="Look",
        name="ledger",
        target="goalpost.balance.commands:ledger",
        summary="Balance what was received against where it is; name what is nowhere.",
    ),
    Entry(
        audience="Repair",
        name="dlq",
        target="goalpost.dead_letters.commands:dlq",
        summary="Count, read and replay dead letters.",
    ),
    Entry(
        audience="Repair",
        name="quarantine",
        target="goalpost.quarantine.commands:quarantine",
        summary="Check requests again that came with a wrong secret.",
    ),
    Entry(
        audience="Keep and forget",
        name="retention",
        target="goalpost.retention.commands:retention",
        summary="Remove what is too old, in small batches; a dry run first.",
    ),
    Entry(
        audience="Keep and forget",
        name="erase",
        target="goalpost.retention.erase:erase",
        summary="Erase one visitor; report what cannot be, and until when.",
    ),
)

SINKS: Final = (
    Entry(
        name="postgres",
        target="sinks.postgres.__main__:main",
        summary="crm.conversions to webhook_conversions and user_analytics.",
    ),
    Entry(
        name="metrika",
        target="sinks.metrika.__main__:main",
        summary="Stored conversions to Yandex Metrika, and what became of them to crm.conversions.outcomes.",
    ),
)

FETCHERS: Final = (
    Entry(
        name="bitrix24",
        target="producers.fetching.__main__:main",
        summary="Deals that Bitrix24's outgoing webhooks name, to crm.events.raw.",
    ),
)


def load_command(entry: Entry) -> click.Command:
    """Import the command that ``entry`` names; a plain function becomes one with the entry's summary as its help.

    Raises:
        click.ClickException: a package that only an extra installs is missing.
    """
    module_name, _, attribute = entry.target.partition(":")
    try:
        target = getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as exc:
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
        except (Fatal, Transient) as exc:
            raise click.ClickException(str(exc)) from exc
        except Exception as exc:
            if not _is_bad_settings(exc):
                raise
            refused = click.ClickException(str(exc))
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
    dotenv = Path(".env")
    if dotenv.is_file():
        import_module("dotenv").load_dotenv(dotenv, override=False)
