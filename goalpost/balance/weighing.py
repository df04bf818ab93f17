"""Puts the balance together: topics first, then the tables, because that is the way that events go."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from itertools import islice

from goalpost.balance.equations import Balance, Named, received
from goalpost.balance.scanning import Scan
from goalpost.balance.sightings import Sightings
from goalpost.balance.standing import what_is_missing
from goalpost.balance.tables import snapshot
from goalpost.moment import iso
from schemas.events import EpochMillis


def weighed(
    *,
    bootstrap_servers: str,
    database_url: str,
    since_ms: EpochMillis,
    grace_ms: int,
    most_named: int,
    report: Callable[[str], None] = lambda _: None,
) -> Balance:
    """Return the balance of what was received since ``since_ms``, and of all rows and uploads.

    What happened in the last ``grace_ms`` may be on its way. ``most_named`` bounds the names of each kind.

    Raises:
        goalpost.cluster.ClusterUnavailable, sinks.postgres.connection.PostgresUnavailable: nothing can be said.
        runtime.failures.Fatal: a topic or a table is not there.
    """
    began = time.monotonic()
    recent_ms = time.time_ns() // 1_000_000 - grace_ms
    sightings = Sightings()
    scan = Scan(bootstrap_servers, sightings, since_ms=since_ms)
    scan.run(report)
    report("Postgres")
    with snapshot(database_url, most_named=most_named) as tables:
        tables.see_rows(sightings)
        rows = tables.rows_without_event(sightings, scan.read)
        unknown = list(islice(rows, most_named))
        broken = len(unknown) + sum(1 for _ in rows)
        stored, uploaded = tables.stored(), tables.uploaded()
    totals = sightings.totals(recent_ms=recent_ms)
    missing = list(islice(sightings.missing(recent_ms=recent_ms), most_named))
    broken += sum(1 for _ in sightings.missing(recent_ms=recent_ms))
    named = [
        Named(name=str(uuid.UUID(bytes=one)), place=place, why=what_is_missing(seen)) for one, seen, place in missing
    ]
    return Balance(
        since=iso(since_ms) if since_ms else "the beginning",
        equations=(received(totals, broken=broken, named=(*named, *unknown)), stored, uploaded),
        replayed=totals.replayed,
        bodies=dict(scan.bodies),
        seconds=round(time.monotonic() - began, 1),
    )
