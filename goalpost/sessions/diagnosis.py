"""What ``goalpost doctor`` looks at in ``user_analytics``: whether its changes reach the join, and its indexes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from goalpost.findings import Finding, bad, good
from goalpost.moment import iso
from goalpost.sessions import readings
from goalpost.sessions.changes import waiting
from goalpost.sessions.readings import Reading
from goalpost.sessions.recording import recording
from sinks.postgres.connection import connect
from sinks.postgres.indexes import missing

_CHECK: Final = "sessions"
# A follower takes them within seconds; a restart or an outage of Kafka may keep it longer.
_OVERDUE_SECONDS: Final = 120.0


def following(database_url: str) -> Iterator[Finding]:
    """Following: if it was ever begun, every change has been recorded since, and none waits for long."""
    with connect(database_url, application_name="goalpost doctor") as connection:
        reading, recorded_as = readings.load(connection, readings.FOLLOW), recording(connection)
        found = _interrupted(reading, recorded_as)
        if found is None and reading is not None:
            changes, since = waiting(connection)
            found = _kept_up(reading, changes, since, now=time.time())
    yield found or good(_CHECK, "user_analytics is not followed")


def _interrupted(reading: Reading | None, recorded_as: str | None) -> Finding | None:
    """Return what is wrong with the triggers. ``recorded_as`` names those that are there."""
    if reading is None:
        if recorded_as is None:
            return None
        remedy = "Start `goalpost sessions follow`, or take its triggers off with `goalpost sessions unfollow`."
        return bad(_CHECK, "changes of user_analytics are recorded, but were never followed", remedy)
    if reading.recording == recorded_as:
        return None
    return bad(
        _CHECK,
        "the triggers that record changes of user_analytics are gone, or are not those that it was followed with",
        "Start `goalpost sessions follow`: it makes them again and reads every row once more.",
    )


def _kept_up(reading: Reading, changes: int, since: float, *, now: float) -> Finding:
    """Return whether the follower keeps up with ``changes``, the oldest of them of ``since``, in epoch seconds."""
    if changes and now - since > _OVERDUE_SECONDS:
        return bad(
            _CHECK,
            f"{changes} changes of user_analytics wait, the oldest since {iso(int(since * 1000))}",
            "Start `goalpost sessions follow`; if it runs, its /readyz says what it waits for.",
        )
    if not reading.finished:
        return good(_CHECK, f"user_analytics is followed; {reading.counts.rows} of its older rows are read so far")
    return good(_CHECK, f"user_analytics is followed, {changes} changes wait")


def indexes(database_url: str) -> Iterator[Finding]:
    """Indexes on what may be large: there is one for each way in which goalpost looks for rows."""
    with connect(database_url, application_name="goalpost doctor") as connection:
        absent = missing(connection)
    for index in absent:
        detail = f"{index.table} has no index that {index.purpose}: everything works, more slowly with every row"
        yield bad("indexes", detail, "Run `goalpost migrate`: it builds it, and everybody can go on writing meanwhile.")
    if not absent:
        yield good("indexes", "user_analytics and webhook_conversions have all that goalpost uses")
