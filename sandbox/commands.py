"""``goalpost up``, ``down``, ``demo`` and ``sandbox``: the ways in for people."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Final

import click
from rich.console import Console

from goalpost.console import output, print_json
from runtime.failures import Fatal
from runtime.lifecycle import Stop
from runtime.private_files import keep_private
from sandbox.__main__ import fetch
from sandbox.__main__ import up as stack
from sandbox.demo.run import Door, Ended, run
from sandbox.demo.screen import Screen
from sandbox.demo.story import tell
from sandbox.demo.watch import Watch
from sandbox.java_file import java
from sandbox.leash import alive
from sandbox.metrika.__main__ import main as metrika
from sandbox.pipeline import Pipeline, no_proxy
from sandbox.stack import owner_of

_HOME: Final = ".goalpost"
_TEND_EVERY_SECONDS: Final = 0.25

# Short enough to watch, long enough that the late session really finds its conversion waiting.
_DEMO_DELAYS: Final = "1,2,2"
_DEMO_LATE_SECONDS: Final = 1.5


def _home() -> Path:
    return Path(os.environ.get("GOALPOST_HOME") or _HOME).absolute()


def _say(text: str) -> None:
    click.echo(text, err=True)


def _write_env(path: Path, lines: dict[str, str]) -> None:
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    draft.replace(path)


@click.command()
def up() -> None:
    """Start the stack and every service; stay until Ctrl-C or SIGTERM, then stop all of it.

    What dies is started again. Addresses, the demo webhook and process ids are written to .goalpost/env as soon as
    everything is ready (GOALPOST_HOME names another folder). A server whose address is in the environment or in .env
    (KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL, DATABASE_URL, METRIKA_API_URL, YANDEX_OAUTH_URL) is used instead of
    an own one. With METRIKA_API_URL=https://api-metrika.yandex.net, METRIKA_ACCESS_TOKEN and METRIKA_COUNTER_ID uploads
    are made for that counter; docs/metrika.md has the table of what is needed for what.
    """
    home = _home()
    env_file = home / "env"
    owner = owner_of(home)
    if owner is None or not alive(owner):  # else this start is about to be refused, and the file is the owner's
        env_file.unlink(missing_ok=True)
    pipeline = Pipeline(home, environ=os.environ, report=_say)

    def publish() -> None:
        if env_file.exists():
            _write_env(env_file, pipeline.published())

    with pipeline:
        _start(pipeline, on_change=publish)
        stop = Stop()
        stop.listen()
        _write_env(env_file, pipeline.published())
        _say(_welcome(pipeline, env_file))
        _tend(pipeline, stop, after=publish)
        _say("Stopping; what is in flight is finished first.")
        env_file.unlink(missing_ok=True)


def _start(pipeline: Pipeline, *, on_change: Callable[[], None] = lambda: None) -> None:
    """Start everything; Ctrl-C and SIGTERM end it cleanly on the way, too."""
    keep_private()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell starts what it puts in the background with SIGINT ignored
    # For our own requests, as for those of the services: over loopback, past any proxy.
    os.environ["NO_PROXY"] = no_proxy(os.environ.get("NO_PROXY"))
    pipeline.start(on_change=on_change)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # once is enough; a second one must not cut the clean-up short
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tend(pipeline: Pipeline, stop: Stop, *, after: Callable[[], None] = lambda: None) -> None:
    """Keep everything running until a stop is asked for; ``after`` is called whenever a process has changed."""
    pids = pipeline.pids()
    while not stop.wait(_TEND_EVERY_SECONDS):
        pipeline.tend()
        if pipeline.pids() != pids:
            pids = pipeline.pids()
            after()


def _welcome(pipeline: Pipeline, env_file: Path) -> str:
    body = '{"session_id": "demo-1", "goal_name": "payment_success", "goal_value": 5000}'
    return (
        f"\ngoalpost is up. Addresses and keys: {env_file}\n\n"
        "  Report a web session, then a conversion, then look what became of it:\n\n"
        f"    . {env_file}\n"
        '    curl -H "X-Write-Key: $SESSIONS_WRITE_KEY" "$WEBHOOK_URL/sessions" \\\n'
        '         -d \'{"session_id": "demo-1", "ym_uid": "1700000000123456789"}\'\n'
        '    curl -H "Authorization: Bearer $WEBHOOK_SECRET" -H "Content-Type: application/json" \\\n'
        f"         -d '{body}' \"$WEBHOOK_URL/functions/v1/crm-conversion-hook\"\n"
        '    psql "$DATABASE_URL" -c "SELECT id, status, stage, metrika_upload_id FROM webhook_conversions"\n\n'
        f"  Logs: {pipeline.home / 'logs'}    Metrika: {pipeline.metrika_api_url}    Ctrl-C stops everything.\n"
    )


@click.command()
def down() -> None:
    """Stop what `goalpost up` started in this folder, from another terminal."""
    home = _home()
    pid = owner_of(home)
    if pid is None:
        click.echo("Nothing is running here.")
        return
    with suppress(ProcessLookupError):  # killed, and what it has left is just ending
        os.kill(pid, signal.SIGTERM)
    while owner_of(home) == pid:
        time.sleep(_TEND_EVERY_SECONDS)
    click.echo("Stopped.")


@click.command()
@click.option("--once", is_flag=True, help="End after the story instead of staying up to be played with.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object in the last line.")
def demo(once: bool, as_json: bool) -> None:
    """Send a story of conversions through the real webhook service and show what becomes of each.

    Kafka, the registry and Postgres are real and run below .goalpost/demo, emptied at each start; Metrika is the
    simulator. Exit code 0 means that every conversion ended where it should. The summary counts distinct events:
    accepted = uploaded + dead_lettered; stored rows and goals_appended include those that Metrika refused.
    """
    began = time.monotonic()
    home = _home() / "demo"
    console = output(markup=True)
    environ = {"GOALPOST_WAITING_DELAYS_SECONDS": _DEMO_DELAYS, **os.environ}
    with Pipeline(home, environ=environ, report=console.print, fresh=True) as pipeline:
        _start(pipeline)
        ended = _play(pipeline, console, began)
        if not once:
            stop = Stop()
            stop.listen()
            _write_env(home / "env", pipeline.published())
            console.print(f"\nEverything stays up to be played with; addresses are in {home / 'env'}. Ctrl-C stops it.")
            _tend(pipeline, stop)
    if as_json:
        print_json(asdict(ended.summary))
    sys.exit(0 if ended.well else 1)


def _play(pipeline: Pipeline, console: Console, began: float) -> Ended:
    story = tell(str(time.time_ns())[:14], late_seconds=_DEMO_LATE_SECONDS, metrika_refuses=pipeline.simulated)
    settings = pipeline.settings()
    door = Door(
        url=pipeline.webhook_url,
        webhook_secret=pipeline.credentials.webhook_secret,
        sessions_write_key=settings["GOALPOST_SESSIONS_WRITE_KEY"],
    )
    addresses = pipeline.addresses
    watch = Watch(addresses.kafka_bootstrap_servers, addresses.database_url)
    try:
        with Screen(console) as screen:
            ended = run(story, door=door, watch=watch, screen=screen, database_url=addresses.database_url, began=began)
    finally:
        watch.close()
    screen.result(ended.story, ended.tracks)
    first = ended.story[0].event
    if first is None:
        raise Fatal(f"the first conversion was not accepted: {ended.story[0].answer}")
    console.print(f"\nThe whole way of the first one: goalpost trace {first}\n", highlight=False)
    subprocess.run((sys.executable, "-m", "goalpost", "trace", first), env=settings, check=True)
    if not ended.well:
        console.print(f"[bold red]Not every conversion ended where it should.[/] Logs: {pipeline.home / 'logs'}")
    return ended


sandbox = click.Group(
    "sandbox",
    commands={"stack": stack, "metrika": metrika, "fetch": fetch, "java": java},
    help="Single parts of the sandbox: the bare Kafka, registry and Postgres; the Metrika simulator; Java; downloads.",
)
