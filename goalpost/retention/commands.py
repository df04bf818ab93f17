"""``goalpost retention``: what is too old goes, in small batches; without --execute it only says what would."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.progress import Progress

from goalpost.cluster import records
from goalpost.console import execute_option, former_execute_option, json_option, progress_output, show
from goalpost.retention.policy import BadPolicy, Cutoffs, Policy
from goalpost.retention.sessions import LastVisits, last_visits
from goalpost.retention.tables import carry_out, count, steps
from runtime import kafka
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load
from schemas.contracts import WEB_SESSIONS
from schemas.topics import SESSIONS
from sinks.postgres.connection import Connection, connect, translated_errors

_NAME: Final = "goalpost-retention"
_SESSIONS: Final = "web.sessions: keys removed"


@click.command()
@click.option("--anonymise-after", type=int, default=90, show_default=True, metavar="DAYS", help="Personal data goes.")
@click.option("--delete-after", type=int, default=400, show_default=True, metavar="DAYS", help="Whole rows go.")
@click.option("--sessions-after", type=int, default=90, show_default=True, metavar="DAYS", help="Since the last visit.")
@click.option("--batch", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows per transaction.")
@execute_option()
@former_execute_option
@json_option
def retention(
    *, anonymise_after: int, delete_after: int, sessions_after: int, batch: int, execute: bool, as_json: bool
) -> None:
    """Remove what is too old: personal data, rows, sessions. A dry run unless --execute is given; made for cron.

    Only finished conversions are touched: uploaded, or given up. Rows of user_analytics belong to the site and stay.
    Topics with a retention time (`goalpost topics check`) forget by themselves. For one visitor see `goalpost erase`.
    """
    try:
        policy = Policy(anonymise_after=anonymise_after, delete_after=delete_after, sessions_after=sessions_after)
    except BadPolicy as exc:
        raise click.UsageError(str(exc)) from exc
    kafka_settings, database_settings = load(KafkaSettings, DatabaseSettings)
    cutoffs = policy.cutoffs(datetime.now(UTC))
    with (
        connect(database_settings.database_url.get_secret_value(), application_name=_NAME) as connection,
        translated_errors(),
        Progress(console=progress_output(), transient=True) as progress,
    ):
        touched = _tables(connection, cutoffs, batch, progress, really=execute)
        touched[_SESSIONS] = _sessions(kafka_settings, cutoffs, progress, really=execute)
    verb = "done" if execute else "would be done (--execute does it)"
    lines = [f"{number:>10}  {name}" for name, number in touched.items()]
    content: dict[str, Any] = {"applied": execute, "touched": touched}
    show(content, [*lines, f"{sum(touched.values()):>10}  in all, {verb}"], as_json=as_json)


def _tables(
    connection: Connection, cutoffs: Cutoffs, batch: int, progress: Progress, *, really: bool
) -> dict[str, int]:
    touched = {}
    for step in steps(connection):
        there_are = count(connection, step, cutoffs)
        touched[step.name] = there_are
        if really:
            bar = progress.add_task(step.name, total=there_are)
            done = 0
            for number in carry_out(connection, step, cutoffs, batch=batch):
                done += number
                progress.advance(bar, number)
            touched[step.name] = done
    return touched


def _sessions(settings: KafkaSettings, cutoffs: Cutoffs, progress: Progress, *, really: bool) -> int:
    registry = Registry(settings.schema_registry_url)
    servers = settings.bootstrap_servers
    with last_visits(registry.codec(WEB_SESSIONS)) as visits:
        bar = progress.add_task(f"reading {SESSIONS.name}", total=None)
        began_ms = time.time_ns() // 1_000_000
        visits.take(progress.track(records(servers, [SESSIONS.name]), task_id=bar))
        number = visits.before(cutoffs.sessions)
        if really and number:
            # Whoever has come back while the topic was read keeps the session.
            visits.take(records(servers, [SESSIONS.name], since_ms=began_ms))
            number = visits.before(cutoffs.sessions)
            _remove(visits, cutoffs, servers)
    return number


def _remove(visits: LastVisits, cutoffs: Cutoffs, servers: str) -> None:
    sender = kafka.Sender(kafka.producer(servers, client_id=_NAME))
    for batch in visits.removals(cutoffs.sessions):
        sender.send(batch)
