"""``goalpost sessions``: the rows of an existing ``user_analytics`` to ``web.sessions``, once or for good."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

import click

from goalpost.console import execute_option, json_option, say, show
from goalpost.moment import Moment
from goalpost.sessions import recording, service, summary
from goalpost.sessions.backfill import Backfill, Result
from goalpost.sessions.pace import Pace
from goalpost.sessions.pages import Page, slow_pages
from goalpost.sessions.publishing import SessionTopic
from goalpost.sessions.table import Bounds, table_of
from runtime.failures import Transient
from runtime.lifecycle import Stop
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load
from sinks.postgres.connection import Connection, connect

rate_option = click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Read at most so many rows a second."
)


@click.group()
def sessions() -> None:
    """Sessions from a table user_analytics that the site itself writes (Supabase). See docs/sessions.md.

    Rows that goalpost creates for POST /sessions are left alone: their sessions are known already.
    """


@sessions.command()
@click.option("--since", type=Moment(), help="Only rows with a timestamp from then on: 30d ago, or 2026-03-01.")
@click.option("--until", type=Moment(), help="Only rows with a timestamp before then.")
@rate_option
@execute_option("Write, or only read and count. A dry run needs no Kafka.", by_default=True)
@click.option("--restart", is_flag=True, help="Forget an unfinished backfill instead of continuing it.")
@click.option(
    "--unusable", type=click.File("a"), help="Write each row that cannot become a session: a JSON object a line."
)
@json_option
def backfill(
    since: int | None,
    until: int | None,
    rate: float | None,
    execute: bool,
    restart: bool,
    unusable: TextIO | None,
    as_json: bool,
) -> None:
    """Write the session of every row to web.sessions, once, oldest first.

    Can be stopped at any moment, also by kill -9: the next run continues behind the last page that Kafka acknowledged,
    with the bounds of the first one. A session that is written twice does no harm. Changes made meanwhile are not
    seen: where the site goes on writing, `goalpost sessions follow` does all of this and then keeps up.
    """
    stop = Stop()
    stop.listen()
    bounds = Bounds(since_ms=since, until_ms=until)
    with _database() as connection:
        table = table_of(connection)
        work = Backfill(
            connection=connection,
            table=table,
            pace=Pace(rate),
            stop=stop,
            seen=partial(_note, unusable),
            clock_ms=lambda: time.time_ns() // 1_000_000,
        )
        if (advice := slow_pages(connection, table)) is not None:
            say(advice, err=True)
        if execute:
            (settings,) = load(KafkaSettings)
            result = _continuable(work, service.session_topic(settings), bounds, restart=restart)
        else:
            result = work.rehearse(bounds)
    show(
        summary.as_json(result, dry_run=not execute),
        summary.as_lines(result, dry_run=not execute),
        as_json=as_json,
    )
    if not result.finished:
        raise SystemExit(1)


@sessions.command()
@rate_option
def follow(rate: float | None) -> None:
    """Keep web.sessions up with user_analytics, until SIGTERM: every row once, and then each change.

    The first start puts two triggers on the table, which note in user_analytics_changes which rows have changed. They
    go on doing so while this process is down, so nothing is missed. `goalpost sessions unfollow` takes them off.
    --rate limits the first reading; changes are always sent at once.
    """
    service.follow(rate)


@sessions.command()
def unfollow() -> None:
    """Take the triggers of `follow` off user_analytics, and forget what they have noted."""
    with _database() as connection:
        recording.end_recording(connection)
    say("Changes of user_analytics are not recorded any more. `goalpost sessions follow` would begin anew.")


@contextmanager
def _database() -> Iterator[Connection]:
    (settings,) = load(DatabaseSettings)
    url = settings.database_url.get_secret_value()
    with connect(url, application_name=service.CLIENT_ID) as connection:
        connection.execute("SET statement_timeout = 0")  # a person is watching, and the first page may sort the table
        yield connection


def _continuable(work: Backfill, topic: SessionTopic, bounds: Bounds, *, restart: bool) -> Result:
    try:
        return work.run(topic, bounds, restart=restart, say=partial(say, err=True))
    except Transient as exc:
        raise click.ClickException(f"{exc} Then run this again: it continues where it stopped.") from exc


def _note(file: TextIO | None, page: Page) -> None:
    if file is not None:
        for row_id, why in page.unusable:
            file.write(json.dumps({"id": row_id, "reason": why}, ensure_ascii=False) + "\n")
        file.flush()
