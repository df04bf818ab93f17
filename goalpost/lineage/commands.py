"""``goalpost trace``: the whole way of an event, an order or an upload, for people and as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

import click
from rich.table import Table

from goalpost.console import json_option, output, print_json, progress_output
from goalpost.lineage import EventLineage, Lineage, Servers, Upload, lineage, waits_for
from goalpost.moment import Moment, iso
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load

# crm.events.raw keeps its records for fourteen days; before that only Postgres and dead letters remember.
_DAYS: Final = 14
# A broker reads some hundred thousand records a second to a command.
_WITHIN_SECONDS: Final = 120.0

# As of `goalpost ledger`: it cannot be said, because somebody who may know did not answer.
CANNOT_TELL: Final = 2
UNKNOWN: Final = 1

_SERVERS: Final = {"postgres": "Postgres", "kafka": "Kafka", "registry": "The schema registry"}


@click.command()
@click.argument("asked", metavar="WHAT")
@click.option(
    "--since",
    type=Moment(),
    default=f"{_DAYS}d",
    show_default=True,
    help="How far back to read topics: 2d, 36h, a date.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=1),
    default=_WITHIN_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to read topics at most; what was not read is said.",
)
@json_option
def trace(asked: str, *, since: int, within: float, as_json: bool) -> None:
    """Show the whole way of an event: received, waiting, joined, stored, uploaded, dead-lettered, replayed, with times.

    WHAT is an event id (the webhook's answer names it) or the sender's own, an order id or a number of a deal or lead
    (DEAL_54, too), a session id, a ym_uid, a yclid, an upload (Metrika's id of it, its token or id in the ledger), a
    letter's id, or topic:partition:offset. Events that Postgres has are found at once; for others the topics are read
    back to --since. Who does not answer is named, and what the others know is shown.

    Exit code 0: something was found. 1: nothing is known, and everybody could be asked. 2: nothing was found, and
    somebody could not be asked.
    """
    kafka, database = load(KafkaSettings, DatabaseSettings)
    with progress_output().status("reading"):
        began = time.monotonic()
        servers = Servers(
            bootstrap_servers=kafka.bootstrap_servers,
            registry_url=kafka.schema_registry_url,
            database_url=database.database_url.get_secret_value(),
        )
        found = lineage(asked, servers, since_ms=since, within_seconds=within)
        seconds = time.monotonic() - began
    if as_json:
        print_json(as_content(found))
    else:
        _print(found, seconds)
    if not found.events:
        raise SystemExit(CANNOT_TELL if found.not_asked else UNKNOWN)


def as_content(found: Lineage) -> dict[str, Any]:
    """Return a lineage in the types of JSON, steps with ISO times; identifiers of visitors are never part of it."""
    events = [
        {
            "event_id": event.event_id,
            "state": event.state,
            "steps": [{**asdict(step), "at": iso(step.at)} for step in event.steps],
            "waits_for": _waits_for(event),
            "notes": list(event.notes),
            "row": None if event.row is None else asdict(event.row),
        }
        for event in found.events
    ]
    return {
        "asked": found.asked,
        "events": events,
        "truncated": found.truncated,
        "not_asked": [asdict(one) for one in found.not_asked],
        "remark": found.remark,
    }


def _print(found: Lineage, seconds: float) -> None:
    console = output()
    if not found.events:
        console.print(_absence(found, seconds))
    for event in found.events:
        console.print(_headline(event), style="bold")
        table = Table.grid(padding=(0, 2))
        for step in event.steps:
            table.add_row(f"  {iso(step.at)}", step.what, step.where, step.detail)
        console.print(table)
        if event.row is not None and event.row.upload is not None:
            console.print(f"  {_upload_line(event.row.upload)}")
        if (waiting := _waits_for(event)) is not None:
            console.print(f"  {waiting}", style="yellow")
        if event.row is not None and event.row.obstacles.goal_unknown:
            console.print(f"  Metrika has no goal {event.row.target} in this counter.", style="yellow")
        for note in event.notes:
            console.print(f"  Not taken as it was sent: {note}", style="yellow")
        console.print()
    if found.truncated:
        console.print(f"There are more events; these are the first {len(found.events)}.")
    for one in found.not_asked:
        console.print(f"{_SERVERS[one.what]} could not be asked, or not to the end: {one.why}", style="bold")


def _absence(found: Lineage, seconds: float) -> str:
    remark = f" ({found.remark})" if found.remark else ""
    if found.not_asked:
        others = ", ".join(name for what, name in _SERVERS.items() if what not in {one.what for one in found.not_asked})
        asked = f"{others} did not find it" if others else "nobody could be asked"
        return f"Whether there is anything of {found.asked} cannot be said{remark}: {asked} ({seconds:.1f} s)."
    return (
        f"Nothing is known of {found.asked}{remark} ({seconds:.1f} s). `goalpost trace --help` says what it may be. "
        "For something older, say --since; a body that could not be read is in `goalpost dlq ls`."
    )


def _headline(event: EventLineage) -> str:
    name = event.event_id or "no event"
    order = f", order {event.row.order_id}" if event.row is not None and event.row.order_id else ""
    return f"{name}{order}: {event.state}"


def _waits_for(event: EventLineage) -> str | None:
    row = event.row
    return None if row is None else waits_for(row.stage, row.upload, row.obstacles, row.deadline_at)


def _upload_line(upload: Upload) -> str:
    name = f"Metrika upload {upload.metrika_upload_id}" if upload.metrika_upload_id else "upload without Metrika's id"
    counted = (
        f", {upload.linked_quantity} of {upload.line_quantity} lines linked" if upload.line_quantity is not None else ""
    )
    status = f" ({upload.metrika_status})" if upload.metrika_status else ""
    return (
        f"{name}, token {upload.token}: {upload.state}{status}, {upload.row_count} rows {upload.names_people}{counted}"
    )
