"""``goalpost admin counter``: Metrika counters that conversions are uploaded to, and goals that Metrika refuses."""

from __future__ import annotations

import uuid
from typing import Final

import click

from goalpost.admin.accounts import ACCOUNTS
from goalpost.admin.registration import ensure_counter, set_time_zone
from goalpost.admin.session import database, rows, the_one, vault, wake_uploads
from goalpost.console import json_option, show, show_rows
from goalpost.webhooks.registration import webhooks
from goalpost.webhooks.telling import teller

COUNTERS: Final = """
SELECT counter.id::text, counter.counter_id, counter.name, counter.time_zone, account.name AS account,
       account.id::text AS account_id
FROM metrika_counters AS counter JOIN yandex_accounts AS account ON account.id = counter.account_id
ORDER BY counter.created_at, counter.id
"""
_GOALS: Final = """
SELECT counter.counter_id, goal.target AS goal, goal.held_at, goal.retry_at, goal.reason, goal.unknown_since,
       goal.unknown_lines
FROM metrika_goals AS goal JOIN metrika_counters AS counter ON counter.id = goal.counter_id
WHERE goal.held_at IS NOT NULL OR goal.unknown_since IS NOT NULL
ORDER BY counter.counter_id, goal.target
"""
_RELEASE: Final = """
UPDATE metrika_goals AS goal
SET held_at = NULL, retry_at = NULL, reason = NULL, retries = 0, refused_in_a_row = 0, refused_that_day = 0
FROM metrika_counters AS counter
WHERE counter.id = goal.counter_id AND counter.counter_id = %s AND (%s::text IS NULL OR goal.target = %s)
  AND goal.held_at IS NOT NULL
RETURNING goal.target
"""
# The column's type is the seed's INT.
_LARGEST_COUNTER: Final = 2**31 - 1

number_option = click.option(
    "--counter-id", required=True, type=click.IntRange(1, _LARGEST_COUNTER), help="The number in Metrika."
)
zone_option = click.option(
    "--time-zone",
    help="The counter's own in Metrika, such as Asia/Yekaterinburg: orders are told, and local times are read in it.",
)


@click.group()
def counter() -> None:
    """Metrika counters that conversions are uploaded to."""


@counter.command("add")
@click.option("--account", "wanted", help="Name, Yandex number or id; not needed where there is only one.")
@number_option
@click.option("--name", help="What people call it.")
@zone_option
@json_option
def counter_add(wanted: str | None, counter_id: int, name: str | None, time_zone: str | None, as_json: bool) -> None:
    """Add a counter to an account; one with the same number there gets the new name."""
    with database() as connection:
        owner = the_one("account", rows(connection, ACCOUNTS), wanted, by=("id", "name", "yandex_uid"))
        known = [
            row
            for row in rows(connection, COUNTERS)
            if row["counter_id"] == counter_id and row["account_id"] == owner["id"]
        ]
        row_id = uuid.UUID(known[0]["id"]) if known else uuid.uuid4()
        ensure_counter(connection, row_id=row_id, account_id=uuid.UUID(owner["id"]), counter_id=counter_id, name=name)
        if time_zone is not None:
            set_time_zone(connection, row_id, time_zone)
    content = {"id": str(row_id), "counter_id": counter_id, "name": name, "account": owner["name"], "added": not known}
    done = "was there already" if known else "added"
    lines = [
        f"Counter {counter_id} of {owner['name']} {done}: {row_id}",
        f"Next: goalpost admin webhook add --counter {counter_id} --name NAME",
    ]
    show(content, lines, as_json=as_json)


@counter.command("change")
@click.argument("wanted", metavar="COUNTER")
@zone_option
@json_option
def counter_change(wanted: str, time_zone: str | None, as_json: bool) -> None:
    """Change a counter (Metrika's number, name or id).

    Orders that are not sent yet are told in the new time zone, and times without an offset are read in it that come
    for its webhooks, unless those have a zone of their own.
    """
    if time_zone is None:
        raise click.UsageError("Say what to change: --time-zone.")
    tell, sealing = teller(), vault()
    with database() as connection:
        found = the_one("counter", rows(connection, COUNTERS), wanted, by=("id", "counter_id", "name"))
        set_time_zone(connection, uuid.UUID(found["id"]), time_zone)
        (changed,) = (row for row in rows(connection, COUNTERS) if row["id"] == found["id"])
        configurations, _ = webhooks(connection, sealing)
    told = tell([one for one in configurations if one.counter_id == found["id"]], [])
    line = f"Counter {changed['counter_id']} of {changed['account']} counts in {changed['time_zone']}."
    show({**changed, **told.fields}, [line, *told.lines], as_json=as_json)
    told.end()


@counter.command("list")
@json_option
def counter_list(as_json: bool) -> None:
    """List counters."""
    with database() as connection:
        found = rows(connection, COUNTERS)
    show_rows(
        "counters", found, as_json=as_json, hint="There is no counter. Add one with `goalpost admin counter add`."
    )


@counter.command("goals")
@json_option
def counter_goals(as_json: bool) -> None:
    """List goals in trouble: held back because Metrika refuses their conversions, or not known to Metrika."""
    with database() as connection:
        found = rows(connection, _GOALS)
    show_rows("goals", found, as_json=as_json, hint="Metrika takes every goal, and knows it.")


@counter.command("resume")
@number_option
@click.option("--goal", help="Only this one; else all that are held.")
@json_option
def counter_resume(counter_id: int, goal: str | None, as_json: bool) -> None:
    """Upload conversions of held goals again, after the goal or the conversions were corrected."""
    with database() as connection:
        released = [str(row[0]) for row in connection.execute(_RELEASE, (counter_id, goal, goal))]
        wake_uploads(connection)
    line = f"Uploaded again: {', '.join(released)}" if released else "No goal of that counter is held."
    show({"counter_id": counter_id, "released": released}, [line], as_json=as_json)
