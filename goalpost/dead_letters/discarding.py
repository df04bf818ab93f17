"""``goalpost dlq discard``: give letters up, with a reason that stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from rich.progress import Progress

from goalpost.console import execute_option, progress_output
from goalpost.dead_letters import reading
from goalpost.dead_letters.journal import Fate, Run, mark, run_record
from goalpost.dead_letters.letter import Letter, Selection
from goalpost.dead_letters.progress import Line, Listing
from goalpost.dead_letters.replay import chunks
from goalpost.dead_letters.running import begun, ended
from goalpost.dead_letters.selecting import in_words, selecting
from goalpost.dead_letters.sending import TransactionalSender
from runtime.sections import KafkaSettings
from runtime.settings import load
from schemas.records import Outgoing


@click.command()
@selecting
@click.option("--reason", required=True, help="Why; it is kept with who did it.")
@execute_option()
def discard(*, topics: tuple[str, ...], selection: Selection, as_json: bool, reason: str, execute: bool) -> None:
    """Give up open letters; says first which.

    They stay in their topics until those forget them, count as discarded in `ls` and in `goalpost ledger`, and are
    left out by `replay` unless it is told --discarded.
    """
    (settings,) = load(KafkaSettings)
    servers = settings.bootstrap_servers
    run = begun("discard", in_words(topics, selection), reason=reason)
    listing = Listing(as_json=as_json)
    # Before the journal is read: from here on no other run writes, so what the journal says is all that was done.
    sender = TransactionalSender(servers) if execute else None
    journal = reading.journal(servers)
    found = (letter for letter in reading.letters(servers, topics, selection) if journal.fate(letter.identity) is None)
    with Progress(console=progress_output()) as progress:
        task = progress.add_task("letters", total=reading.count(servers, topics, selection))
        if sender:
            sender.send([run_record(run)])
        for chunk in chunks(found):
            if sender:
                sender.send(_marks(chunk, run))
            listing.take(_line_of(letter) for letter in chunk)
            progress.update(task, completed=listing.letters)
    listing.end(ended(run, sender, counts=listing.counts) if sender else None)


def give_up(bootstrap_servers: str, letters: Iterable[Letter], run: Run) -> int:
    """Discard those of ``letters`` that are open; return how many they were.

    Raises:
        goalpost.cluster.ClusterUnavailable, runtime.kafka.DeliveryFailed: nothing is done.
    """
    sender = TransactionalSender(bootstrap_servers)
    journal = reading.journal(bootstrap_servers)
    found = [letter for letter in letters if journal.fate(letter.identity) is None]
    if found:
        sender.send([run_record(run), *_marks(found, run)])
        ended(run, sender, counts={"discard": len(found)})
    return len(found)


def _marks(letters: Iterable[Letter], run: Run) -> Iterator[Outgoing]:
    return (mark(one.identity, Fate.DISCARDED, event_id=one.event_id, run_id=run.run_id) for one in letters)


def _line_of(letter: Letter) -> Line:
    return Line(
        place=letter.place,
        letter_id=letter.letter_id,
        event_id=letter.event_id,
        error_class=letter.error_class,
        action="discard",
        detail=f"given up: {letter.message}",
    )
