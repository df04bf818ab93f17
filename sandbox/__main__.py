"""`python -m sandbox`: the bare stack, for whoever wants Kafka, a schema registry and PostgreSQL and nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import click

from runtime.failures import Fatal
from runtime.private_files import keep_private
from sandbox import artifacts, locking
from sandbox.java_file import COMPILER
from sandbox.stack import Stack

LOOK_SECONDS = 0.5


@click.group()
def main() -> None:
    """Kafka, a schema registry and PostgreSQL on this machine, without Docker and without an installed Java."""


@main.command()
@click.option("--home", type=click.Path(path_type=Path), default=Path(".goalpost"), show_default=True)
def up(home: Path) -> None:
    """Start the stack, print its addresses as NAME=value, and stay until Ctrl-C or SIGTERM."""
    keep_private()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)  # a shell starts what it puts in the background with SIGINT ignored
    try:
        with Stack(home, given=os.environ, report=_say) as stack:
            for name, address in dataclasses.asdict(stack.start()).items():
                click.echo(f"{name.upper()}={address}")
            while True:
                time.sleep(LOOK_SECONDS)
                stack.revive()
    except KeyboardInterrupt:
        _say("stopped")
    except Fatal as error:
        raise click.ClickException(str(error)) from error


@main.command()
def fetch() -> None:
    """Download what the stack and the Java examples need, so that they start without a network."""
    try:
        wanted = [*artifacts.programs().values(), COMPILER]
        folders = artifacts.provide(wanted, cache=artifacts.cache_folder(os.environ), report=_say)
    except Fatal as error:
        raise click.ClickException(str(error)) from error
    for folder in folders.values():
        click.echo(folder)


@main.command()
def lock() -> None:
    """Maintenance: resolve the pinned versions anew and write sandbox/artifacts.lock.json."""
    locking.lock()


def _say(line: str) -> None:
    click.echo(line, err=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    # A second signal while the stack is being stopped must not interrupt that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
