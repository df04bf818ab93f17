"""``goalpost dlq``: count, read and replay dead letters."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import wraps
from typing import Any, Final

import click
from rich.progress import Progress

from goalpost.console import progress_output
from goalpost.dead_letters import reading, view
from goalpost.dead_letters.journal import Run, run_record
from goalpost.dead_letters.letter import UNKNOWN, Letter, Selection
from goalpost.dead_letters.replay import carried_out, planned
from goalpost.dead_letters.rows import Rows
from goalpost.moment import Moment, iso
from runtime import kafka
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load
from schemas.dead_letter import ErrorClass, Stage

# A letter that failed three times after a person mended something has a cause that nobody has found yet.
MAX_REPLAYS: Final = 3

_OPTIONS: Final = (
    click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Dead-letter topic, or the topic it is of."),
    click.option(
        "--class",
        "classes",
        multiple=True,
        type=click.Choice([*(member.value for member in ErrorClass), UNKNOWN]),
        help="Error class.",
    ),
    click.option(
        "--stage", "stages", multiple=True, type=click.Choice([member.value for member in Stage]), help="Failed step."
    ),
    click.option("--webhook", "webhooks", multiple=True, metavar="UUID", help="Webhook id."),
    click.option("--since", type=Moment(), default=0, help="Written at or after: 2d, 36h or 2026-03-01T12:00 (UTC)."),
    click.option("--until", type=Moment(), default=None, help="Written before."),
    click.option("--id", "ids", multiple=True, metavar="ID", help="Letter id, event id or topic:partition:offset."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that select letters; it receives ``topics`` and ``selection``."""

    @wraps(command)
    def selecting(
        topics: tuple[str, ...],
        classes: tuple[str, ...],
        stages: tuple[str, ...],
        webhooks: tuple[str, ...],
        since: int,
        until: int | None,
        ids: tuple[str, ...],
        **others: Any,
    ) -> None:
        selection = Selection(
            error_classes=frozenset(classes),
            stages=frozenset(stages),
            webhooks=frozenset(webhooks),
            ids=frozenset(ids),
            since_ms=since,
            until_ms=until,
        )
        command(topics=_letter_topics(topics), selection=selection, **others)

    for option in reversed(_OPTIONS):
        selecting = option(selecting)
    return selecting


def _letter_topics(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(reading.letter_topic(name) for name in names)) or reading.LETTER_TOPICS
    except KeyError as exc:
        known = ", ".join(reading.LETTER_TOPICS)
        raise click.BadParameter(f"no such dead-letter topic; there are {known}", param_hint="--topic") from exc


@click.group()
def dlq() -> None:
    """Dead letters: records that could not be processed, kept untouched with the reason.

    Look with `ls` and `show`, mend the cause, then `replay`: first as a dry run, which is the default, then with
    --execute. What was replayed is remembered, so a replay can be repeated or resumed at any time.
    """


@dlq.command()
@_selecting
def ls(*, topics: tuple[str, ...], selection: Selection, as_json: bool) -> None:
    """Count letters by topic, class, stage, webhook and day; `open` are those not replayed yet."""
    (settings,) = load(KafkaSettings)
    replayed = reading.journal(settings.bootstrap_servers).replayed
    groups: Counter[view.Group] = Counter()
    unreplayed: Counter[view.Group] = Counter()
    for letter in reading.letters(settings.bootstrap_servers, topics, selection):
        groups[view.group_of(letter)] += 1
        unreplayed[view.group_of(letter)] += letter.place not in replayed
    view.show_groups(groups, unreplayed, as_json=as_json)


@dlq.command()
@click.argument("letter", metavar="ID|TOPIC:PARTITION:OFFSET")
@click.option("--reveal", is_flag=True, help="Show personal data and secrets as they are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(letter: str, *, reveal: bool, as_json: bool) -> None:
    """Show a letter: why, where from, headers, and the value if it decodes. Personal data is masked.

    ID is a letter's id, or an event id, which may have several letters.
    """
    (settings,) = load(KafkaSettings)
    found = _letters_named(settings.bootstrap_servers, letter)
    if not found:
        raise click.ClickException(f"there is no dead letter {letter}. `goalpost dlq ls` says what there is.")
    registry = Registry(settings.schema_registry_url)
    for one in found:
        view.show_letter(one, reading.decoded(one.record, registry), reveal=reveal, as_json=as_json)


def _letters_named(bootstrap_servers: str, name: str) -> list[Letter]:
    if name.count(":") == 2:
        try:
            one = reading.letter_at(bootstrap_servers, name)
        except ValueError as exc:
            raise click.BadParameter(f"{name} is not dead-letter-topic:partition:offset") from exc
        return [] if one is None else [one]
    return list(reading.letters(bootstrap_servers, reading.LETTER_TOPICS, Selection(ids=frozenset({name}))))


@dlq.command()
@_selecting
@click.option("--execute", is_flag=True, help="Do it; without this nothing is written.")
@click.option(
    "--max-replays", default=MAX_REPLAYS, show_default=True, type=click.IntRange(1), help="Per event, in all runs."
)
def replay(*, topics: tuple[str, ...], selection: Selection, execute: bool, max_replays: int, as_json: bool) -> None:
    """Send letters back to where they came from; says first what would happen to each.

    Key, value and event id stay, so a repeat of an effect changes nothing. A conversion whose upload failed is not
    published again: its row in Postgres goes back to pending, unless an upload that Metrika may have taken carried it.
    Letters that arrive during the run are left for the next one.
    """
    (settings,) = load(KafkaSettings)
    run = Run(
        run_id=str(uuid.uuid4()), by=_operator(), started_at=iso(_now_ms()), selection=_in_words(topics, selection)
    )
    sender = kafka.Sender(kafka.producer(settings.bootstrap_servers, client_id="goalpost-dlq")) if execute else None
    lines: list[view.Line] = []
    with closing(Rows(_database_url, run_id=run.run_id)) as rows, Progress(console=progress_output()) as progress:
        task = progress.add_task("letters", total=None)
        chunks = planned(
            reading.letters(settings.bootstrap_servers, topics, selection),
            journal=reading.journal(settings.bootstrap_servers),
            rows=rows,
            max_replays=max_replays,
            now_ms=_now_ms(),
        )
        if sender:
            sender.send([run_record(run)])
        for chunk in chunks:
            done = carried_out(chunk, rows=rows, sender=sender, run_id=run.run_id) if sender else chunk
            lines += map(view.line_of, done)
            progress.update(task, completed=len(lines))
    if sender:
        run = replace(run, finished_at=iso(_now_ms()), counts=view.counts_of(lines))
        sender.send([run_record(run)])
    view.show_replay(lines, run if execute else None, as_json=as_json)


@dlq.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(*, as_json: bool) -> None:
    """List who replayed what and when; a run without an end was cut off, and the next one goes on from there."""
    (settings,) = load(KafkaSettings)
    found = reading.journal(settings.bootstrap_servers).runs
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found], ensure_ascii=False))
    else:
        view.show_runs(found)


def _database_url() -> str:
    (settings,) = load(DatabaseSettings)
    return str(settings.database_url.get_secret_value())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _operator() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user often has no name
        return "unknown"


def _in_words(topics: tuple[str, ...], selection: Selection) -> str:
    words = {name: sorted(value) for name, value in asdict(selection).items() if isinstance(value, frozenset) and value}
    times = {"since": selection.since_ms, "until": selection.until_ms}
    words |= {name: [iso(value)] for name, value in times.items() if value}
    if topics != reading.LETTER_TOPICS:
        words["topics"] = list(topics)
    return "; ".join(f"{name} {', '.join(values)}" for name, values in words.items()) or "everything"
