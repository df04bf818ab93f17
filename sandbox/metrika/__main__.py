"""`python -m sandbox.metrika --database FILE [--port N]`: the simulator as a process of its own."""

import sqlite3
from pathlib import Path

import click
import orjson

from sandbox.metrika.configuration import Configuration, InvalidConfiguration, changed
from sandbox.metrika.process import READY
from sandbox.metrika.server import serve


@click.command()
@click.option(
    "--database", type=click.Path(path_type=Path, dir_okay=False), required=True, help="SQLite file of accepted rows."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option(
    "--configuration", "settings", default="{}", help="JSON object of settings, as /_control/config shows them."
)
def main(database: Path, host: str, port: int, settings: str) -> None:
    """Simulate Yandex Metrika's offline-conversions API. Prints its address when it is ready, ends on SIGTERM."""
    try:
        configuration = changed(Configuration(), orjson.loads(settings))
    except (InvalidConfiguration, orjson.JSONDecodeError) as error:
        raise click.BadParameter(str(error), param_hint="--configuration") from error
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        serve(
            database=database,
            host=host,
            port=port,
            configuration=configuration,
            on_ready=lambda address: click.echo(f"{READY}{address}"),
        )
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"{error}; check --host, --port {port} and --database {database}") from error


if __name__ == "__main__":
    main()
