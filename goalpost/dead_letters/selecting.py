"""The options by which a person says which letters are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import wraps
from typing import Any, Final

import click

from goalpost.console import json_option
from goalpost.dead_letters.letter import UNKNOWN, Selection
from goalpost.dead_letters.masking import masked_header, masked_key
from goalpost.dead_letters.reading import IGNORED_TOPICS, KEPT_TOPICS, LETTER_TOPICS, letter_topic
from goalpost.moment import Moment, iso
from producers.dialects.outcome import Ignored
from schemas.dead_letter import ErrorClass, Stage

_OPTIONS: Final = (
    click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Dead-letter topic, or the topic it is of."),
    click.option(
        "--ignored",
        is_flag=True,
        help="In place of dead letters, what came in the last week and no rule of its webhook was for.",
    ),
    click.option(
        "--class",
        "classes",
        multiple=True,
        type=click.Choice([*(member.value for member in (*ErrorClass, *Ignored)), UNKNOWN]),
        help="Error class, or why something was ignored.",
    ),
    click.option(
        "--stage", "stages", multiple=True, type=click.Choice([member.value for member in Stage]), help="Failed step."
    ),
    click.option("--webhook", "webhooks", multiple=True, metavar="UUID", help="Webhook id."),
    click.option("--since", type=Moment(), default=0, help="Written at or after: 2d, 36h or 2026-03-01T12:00 (UTC)."),
    click.option("--until", type=Moment(), default=None, help="Written before."),
    click.option("--id", "ids", multiple=True, metavar="ID", help="Letter id, event id or topic:partition:offset."),
    click.option(
        "--key", "keys", multiple=True, metavar="KEY", help="The record's key, as s:<session> or u:<visitor>."
    ),
    click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header; all that are given."),
    json_option,
)


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that select letters; it receives ``topics``, ``selection`` and ``as_json``."""

    @wraps(command)
    def with_selection(
        *,
        topics: tuple[str, ...],
        ignored: bool,
        classes: tuple[str, ...],
        stages: tuple[str, ...],
        webhooks: tuple[str, ...],
        since: int,
        until: int | None,
        ids: tuple[str, ...],
        keys: tuple[str, ...],
        headers: tuple[str, ...],
        **others: Any,
    ) -> None:
        selection = Selection(
            error_classes=frozenset(classes),
            stages=frozenset(stages),
            webhooks=frozenset(webhooks),
            ids=frozenset(ids),
            keys=frozenset(keys),
            headers=frozenset(pair(text, "--header") for text in headers),
            since_ms=since,
            until_ms=until,
        )
        command(topics=_letter_topics(topics, ignored=ignored), selection=selection, **others)

    for option in reversed(_OPTIONS):
        with_selection = option(with_selection)
    return with_selection


def pair(text: str, option: str) -> tuple[str, str]:
    """Return ``NAME=VALUE`` in two.

    Raises:
        click.BadParameter: there is no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name, value


def in_words(topics: tuple[str, ...], selection: Selection) -> str:
    """Return which letters are meant, for the audit record; without what may be personal."""
    shown = replace(
        selection,
        keys=frozenset(masked_key(key.encode()) for key in selection.keys),
        headers=frozenset((name, masked_header(name, value.encode())) for name, value in selection.headers),
    )
    words = {name: _listed(value) for name, value in asdict(shown).items() if isinstance(value, frozenset) and value}
    times = {"since": selection.since_ms, "until": selection.until_ms}
    words |= {name: [iso(value)] for name, value in times.items() if value}
    if topics != LETTER_TOPICS:
        words["topics"] = list(topics)
    return "; ".join(f"{name} {', '.join(values)}" for name, values in words.items()) or "everything"


def _listed(values: frozenset[Any]) -> list[str]:
    return sorted("=".join(value) if isinstance(value, tuple) else str(value) for value in values)


def _letter_topics(names: tuple[str, ...], *, ignored: bool) -> tuple[str, ...]:
    if ignored and names:
        raise click.BadParameter("it is a topic of its own; leave --topic out", param_hint="--ignored")
    if ignored:
        return IGNORED_TOPICS
    try:
        return tuple(dict.fromkeys(letter_topic(name) for name in names)) or LETTER_TOPICS
    except KeyError as exc:
        known = ", ".join(KEPT_TOPICS)
        raise click.BadParameter(f"no such dead-letter topic; there are {known}", param_hint="--topic") from exc
