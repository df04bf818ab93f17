"""``goalpost trace``: the whole way of an event, an order or an upload, for people and as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

import click
from rich.table import Table

from goalpost.console import output, progress_output, say_json
from goalpost.lineage import EventLineage, Lineage, Upload, lineage, waits_for
from goalpost.moment import Moment, iso
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load

# crm.events.raw keeps its records for fourteen days; before that only Postgres and dead letters remember.
_DAYS: Final = 14


@click.command()
@click.argument("asked", metavar="EVENT_ID|ORDER_ID|UPLOAD")
@click.option(
    "--since",
    type=Moment(),
    default=f"{_DAYS}d",
    show_default=True,
    help="How far back to read topics: 2d, 36h, a date.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trace(asked: str, *, since: int, as_json: bool) -> None:
    """Show the whole way of an event: received, waiting, joined, stored, uploaded, dead-lettered, replayed, with times.

    Ask for an event id (the webhook's answer names it), an order id, or an upload: Metrika's id of it or its token in
    the ledger. Events that Postgres has are found at once; for others the topics are read back to --since.
    """
    kafka, database = load(KafkaSettings, DatabaseSettings)
    with progress_output().status("reading"):
        began = time.monotonic()
        found = lineage(
            asked,
            bootstrap_servers=kafka.bootstrap_servers,
            registry_url=kafka.schema_registry_url,
            database_url=database.database_url.get_secret_value(),
            since_ms=since,
        )
        seconds = time.monotonic() - began
    if as_json:
        say_json(as_content(found))
    else:
        _print(found, seconds)
    if not found.events:
        raise SystemExit(1)


def as_content(found: Lineage) -> dict[str, Any]:
    """Return a lineage in the types of JSON, steps with ISO times; identifiers of visitors are never part of it."""
    events = [
        {
            "event_id": event.event_id,
            "state": event.state,
            "steps": [{**asdict(step), "at": iso(step.at)} for step in event.steps],
            "waits_for": _waits_for(event),
            "row": None if event.row is None else asdict(event.row),
        }
        for event in found.events
    ]
    return {"asked": found.asked, "events": events, "truncated": found.truncated}


def _print(found: Lineage, seconds: float) -> None:
    console = output()
    if not found.events:
        console.print(
            f"Nothing is known of {found.asked} ({seconds:.1f} s). Is it an event id, an order id or an upload? "
            "For something older, say --since; a body that could not be read is in `goalpost dlq ls`."
        )
        return
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
        console.print()
    if found.truncated:
        console.print(f"There are more events; these are the first {len(found.events)}.")


def _headline(event: EventLineage) -> str:
    order = f", order {event.row.order_id}" if event.row is not None and event.row.order_id else ""
    return f"{event.event_id}{order}: {event.state}"


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
