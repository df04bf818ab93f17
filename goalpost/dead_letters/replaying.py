"""``goalpost dlq replay``: letters back to where they came from, with or without a fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import Progress

from goalpost.console import execute_option, progress_output
from goalpost.dead_letters import reading
from goalpost.dead_letters.bodies import Parser
from goalpost.dead_letters.fixing import BadTransform, Fixes, Transform, transform_of
from goalpost.dead_letters.journal import Run, run_record
from goalpost.dead_letters.letter import Selection
from goalpost.dead_letters.plan import Limits
from goalpost.dead_letters.progress import Listing, line_of
from goalpost.dead_letters.remake import remade
from goalpost.dead_letters.replay import Planner, carried_out
from goalpost.dead_letters.returns import Returns, Streak
from goalpost.dead_letters.rows import Rows
from goalpost.dead_letters.running import begun, chunk_letters, ended, now_ms, paced
from goalpost.dead_letters.selecting import in_words, pair, selecting
from goalpost.dead_letters.sending import TransactionalSender
from goalpost.moment import Moment
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, KafkaSettings, TimeSettings
from runtime.settings import load
from schemas.contracts import RAW_EVENTS, Contract

# A letter that failed three times after a person mended something has a cause that nobody has found yet.
MAX_REPLAYS: Final = 3
# Enough to see what is wrong; few enough to write off.
STOP_AFTER: Final = 20


@click.command()
@selecting
@execute_option()
@click.option(
    "--max-replays", default=MAX_REPLAYS, show_default=True, type=click.IntRange(1), help="Per event, in all runs."
)
@click.option("--max-age", type=Moment(), default=0, help="Block what was first written before: 14d, a date.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Letters a second at most.")
@click.option(
    "--stop-after",
    default=STOP_AFTER,
    show_default=True,
    type=click.IntRange(1),
    help="End when so many fail in a row, or have come back.",
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Fix: set a field; null empties it.")
@click.option(
    "--transform",
    "script",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Fix: a Python file with transform(fields) or transform_bytes(value).",
)
@click.option("--discarded", is_flag=True, help="Also letters that were discarded.")
def replay(
    *,
    topics: tuple[str, ...],
    selection: Selection,
    as_json: bool,
    execute: bool,
    max_replays: int,
    max_age: int,
    rate: float | None,
    stop_after: int,
    settings: tuple[str, ...],
    script: Path | None,
    discarded: bool,
) -> None:
    """Send letters back to where they came from; says first what would happen to each.

    Key, value and event id stay, so a repeat of an effect changes nothing. A conversion whose upload failed is not
    published again: its row in Postgres goes back to pending, unless an upload that Metrika may have taken carried it.
    A kept request body is parsed anew, by today's dialect of its webhook. Letters that arrive during the run are left
    for the next one; one that was cut off is resumed by saying the same again.

    With --set or --transform only letters that change go back; the others stay untouched.
    """
    transform = _transform(settings, script)
    how = " ".join((*(f"--set {text.partition('=')[0]}=..." for text in settings), str(script or ""))).strip()
    limits = Limits(max_replays=max_replays, oldest_ms=max_age, discarded_too=discarded)
    run = begun("replay", in_words(topics, selection), transform=how)
    with ExitStack() as parts:
        process = _Replay(parts, run, topics, selection, transform, limits, execute=execute)
        process.run(Listing(as_json=as_json), rate=rate, stop_after=stop_after)


def _transform(settings: tuple[str, ...], script: Path | None) -> Transform | None:
    if not settings and script is None:
        return None
    try:
        return transform_of(dict(pair(text, "--set") for text in settings), script)
    except BadTransform as exc:
        raise click.BadParameter(str(exc), param_hint="--set, --transform") from exc


class _Replay:
    """One run from its parts."""

    def __init__(
        self,
        parts: ExitStack,
        run: Run,
        topics: tuple[str, ...],
        selection: Selection,
        transform: Transform | None,
        limits: Limits,
        *,
        execute: bool,
    ) -> None:
        self._kafka, self._database, times = load(KafkaSettings, DatabaseSettings, TimeSettings)
        self._parts = parts
        self._run = run
        self._topics = topics
        self._selection = selection
        self._servers: str = self._kafka.bootstrap_servers
        self._rows = parts.enter_context(closing(Rows(self._database.database_url.get_secret_value, run_id=run.run_id)))
        registry = Registry(self._kafka.schema_registry_url)

        @cache
        def codec(contract: Contract[Any]) -> Any:
            return registry.codec(contract)

        webhooks = reading.Configurations(self._servers, registry)
        # Before the journal is read: from here on no other run writes, so what the journal says is all that was done.
        self._sender = TransactionalSender(self._servers) if execute else None
        self._planner = Planner(
            journal=reading.journal(self._servers),
            rows=self._rows,
            remake=partial(
                remade,
                run_id=run.run_id,
                fix=Fixes(transform, codec) if transform else None,
                parse=Parser(webhook=webhooks.get, codec=lambda: codec(RAW_EVENTS), zone=times.timezone),
            ),
            limits=limits,
            now_ms=now_ms(),
            fixes=transform is not None,
        )

    def run(self, listing: Listing, *, rate: float | None, stop_after: int) -> None:
        """Plan, and where it is to be executed carry out."""
        letters = reading.letters(
            self._servers, self._topics, self._selection, group=f"goalpost-dlq-{self._run.run_id}"
        )
        chunks: Iterator[Any] = self._planner.planned(letters, chunk_letters=chunk_letters(rate))
        progress = self._parts.enter_context(Progress(console=progress_output()))
        task = progress.add_task("letters", total=reading.count(self._servers, self._topics, self._selection))
        if self._sender is None:
            for chunk in chunks:
                listing.take(map(line_of, chunk))
                progress.update(task, completed=listing.letters)
            progress.stop()
            listing.end(None)
            return
        streak, sender = Streak(stop_after), self._sender
        returns = self._parts.enter_context(Returns(self._servers, self._topics, run_id=self._run.run_id))
        sender.send([run_record(self._run)])
        stopped = ""
        for chunk in paced(chunks, rate):
            done = carried_out(chunk, rows=self._rows, sender=sender, run_id=self._run.run_id)
            listing.take(map(line_of, done))
            progress.update(task, completed=listing.letters)
            stopped = streak.stops((one.action for one in done), returned=returns.look())
            if stopped:
                break
        progress.stop()
        listing.end(ended(self._run, sender, counts=listing.counts, stopped=stopped), stopped=stopped)
        if stopped:
            raise SystemExit(1)
