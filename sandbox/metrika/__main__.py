"""`python -m sandbox.metrika`: the simulator as a process of its own; people say `goalpost sandbox metrika`."""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from sandbox.metrika.configuration import Configuration, InvalidConfiguration, changed, settings_explained
from sandbox.metrika.process import READY
from sandbox.metrika.server import serve

_EXPLAINED = """Simulate Yandex Metrika's offline conversions, and the Yandex OAuth that gives access to them.

\b
Point any uploader at the printed address: it is both METRIKA_API_URL (instead of
https://api-metrika.yandex.net) and YANDEX_OAUTH_URL (instead of https://oauth.yandex.ru). Any token is
good unless --set strict_tokens=true. The address itself is a page of what was accepted, /_control one of
what can be configured and broken while it runs: settings, faults, goals, visits, the clock.

Accepted rows, tokens, daily quotas and changed settings survive a restart. Ends on SIGTERM or Ctrl-C.

\b
  goalpost sandbox metrika --port 8084
  goalpost sandbox metrika --set quota_status=420 --set requests_per_day_per_login=100
  curl http://127.0.0.1:8084/_control/faults -d '[{"match": "upload", "fault": "cut_after_accept"}]'
"""


def _settings_epilog() -> str:
    lines = [f"  {one.name} [{one.default_shown()}]\n      {one.purpose}" for one in settings_explained()]
    return "\b\nSettings, with their defaults:\n" + "\n".join(lines)


@click.command(help=_EXPLAINED, epilog=_settings_epilog())
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(".goalpost/metrika-simulator.sqlite"),
    show_default=True,
    help="File of what is accepted; the rest is kept beside it.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="One setting; VALUE is JSON or plain text.")
@click.option(
    "--configuration", "settings", default="{}", help="JSON object of settings, as /_control/config shows them."
)
def main(database: Path, host: str, port: int, given: tuple[str, ...], settings: str) -> None:
    """Serve, and say where."""
    try:
        configuration = changed(Configuration(), {**orjson.loads(settings), **dict(map(_setting, given))})
        os.umask(0o077)  # what is uploaded is somebody's business
        database.parent.mkdir(parents=True, exist_ok=True)
        serve(database=database, host=host, port=port, configuration=configuration, on_ready=_announce)
    except (InvalidConfiguration, orjson.JSONDecodeError, TypeError) as error:
        raise click.BadParameter(str(error), param_hint="settings (see --help)") from error
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"{error}; check --host, --port {port} and --database {database}") from error


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


def _announce(address: str) -> None:
    click.echo(f"{READY}{address}")
    if sys.stderr.isatty():  # a program needs only the line above
        click.echo(f"What was accepted: {address}/    What can be configured: {address}/_control", err=True)


if __name__ == "__main__":
    main()
