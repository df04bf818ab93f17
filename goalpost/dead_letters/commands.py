"""``goalpost dlq``: count and read dead letters; replay and discard are in ``replaying`` and ``discarding``."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from typing import Final

import click

from goalpost.cluster import NoRecord
from goalpost.console import json_option, print_json
from goalpost.dead_letters import reading, view
from goalpost.dead_letters.discarding import discard
from goalpost.dead_letters.letter import Letter, Selection
from goalpost.dead_letters.replaying import replay
from goalpost.dead_letters.selecting import selecting
from goalpost.lineage import Servers, Step, lineage
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import BadSettings, load

# What a person who looks at a letter waits for the rest of its story.
_WAY_SECONDS: Final = 60.0


@click.group()
def dlq() -> None:
    """Dead letters: records that could not be processed, kept untouched with the reason.

    Look with `ls` and `show`, mend the cause, then `replay`: first as a dry run, which is the default, then with
    --execute. What was replayed is remembered, so a replay can be repeated or resumed at any time. What is not worth
    it, `discard`.
    """


@dlq.command()
@selecting
def ls(*, topics: tuple[str, ...], selection: Selection, as_json: bool) -> None:
    """Count letters by topic, class, stage, webhook and day; `open` are those of which nothing has become yet."""
    (settings,) = load(KafkaSettings)
    journal = reading.journal(settings.bootstrap_servers)
    groups: defaultdict[view.Group, Counter[str]] = defaultdict(Counter)
    for letter in reading.letters(settings.bootstrap_servers, topics, selection):
        fate = journal.fate(letter.identity)
        groups[view.group_of(letter)][view.OPEN if fate is None else fate.value] += 1
    view.show_groups(groups, as_json=as_json)


@dlq.command()
@click.argument("letter", metavar="ID|TOPIC:PARTITION:OFFSET")
@click.option("--reveal", is_flag=True, help="Show personal data and secrets as they are.")
@json_option
def show(letter: str, *, reveal: bool, as_json: bool) -> None:
    """Show a letter: why, where from, headers, the value if it decodes, and the event's way so far.

    ID is a letter's id, or an event id, which may have several letters. Personal data is masked.
    """
    (settings,) = load(KafkaSettings)
    found = _letters_named(settings.bootstrap_servers, letter)
    if not found:
        raise click.ClickException(f"there is no dead letter {letter}. `goalpost dlq ls` says what there is.")
    decode = reading.Decoder(Registry(settings.schema_registry_url))
    journal = reading.journal(settings.bootstrap_servers)
    shown = [
        view.Shown(
            letter=one,
            fields=decode(one.record),
            way=_way_of(one, settings),
            fate=journal.fate(one.identity),
        )
        for one in found
    ]
    view.show_letters(shown, reveal=reveal, as_json=as_json)


def _letters_named(bootstrap_servers: str, name: str) -> list[Letter]:
    if name.count(":") == 2:
        try:
            return [reading.letter_at(bootstrap_servers, name)]
        except NoRecord as exc:
            raise click.ClickException(f"{exc}. `goalpost dlq ls` says what there is.") from exc
        except ValueError as exc:
            raise click.BadParameter(f"{name} is not dead-letter-topic:partition:offset") from exc
    return list(reading.letters(bootstrap_servers, reading.LETTER_TOPICS, Selection(ids=frozenset({name}))))


def _way_of(letter: Letter, kafka: KafkaSettings) -> tuple[Step, ...] | str:
    """Return the steps of the letter's event, or why they are not known."""
    if not letter.event_id:
        return "it names no event"
    try:
        (database,) = load(DatabaseSettings)
    except BadSettings as exc:
        return f"it cannot be asked for now: {exc}"
    servers = Servers(
        bootstrap_servers=kafka.bootstrap_servers,
        registry_url=kafka.schema_registry_url,
        database_url=database.database_url.get_secret_value(),
    )
    since_ms = min(letter.origin_ms, letter.record.timestamp)
    found = lineage(letter.event_id, servers, since_ms=since_ms, within_seconds=_WAY_SECONDS)
    if found.not_asked and not found.events:
        return "it cannot be asked for now: " + "; ".join(one.why for one in found.not_asked)
    return tuple(step for event in found.events for step in event.steps)


@dlq.command()
@json_option
def runs(*, as_json: bool) -> None:
    """List who replayed or discarded what and when; a run without an end was cut off, and the next one goes on."""
    (settings,) = load(KafkaSettings)
    found = reading.journal(settings.bootstrap_servers).runs
    if as_json:
        print_json({"runs": [asdict(run) for run in found]})
    else:
        view.show_runs(found)


dlq.add_command(replay)
dlq.add_command(discard)
