"""What a backfill says at its end, for people and for programs. Pure."""

from __future__ import annotations

from typing import Any

from goalpost.moment import iso
from goalpost.sessions.backfill import Result


def as_json(result: Result, *, dry_run: bool) -> dict[str, Any]:
    """Return one JSON document."""
    counts = result.counts
    return {
        "dry_run": dry_run,
        "finished": result.finished,
        "continued": result.continued,
        "since": _moment(result.bounds.since_ms),
        "until": _moment(result.bounds.until_ms),
        "rows": counts.rows,
        "sessions": counts.sessions,
        "sessions_without_ym_uid": counts.without_visitor,
        "records": counts.records,
        "rows_of_goalpost": counts.own,
        "unusable_rows": counts.unusable_rows,
        "unusable": {
            why: {"rows": part.rows, "with_ym_uid": part.with_visitor, "first_ids": list(part.ids)}
            for why, part in sorted(counts.unusable.items())
        },
        "rows_now": result.rows_now,
        "seconds": round(result.seconds, 3),
        "rows_per_second": round(result.rows_now / result.seconds) if result.seconds > 0 else 0,
    }


def as_lines(result: Result, *, dry_run: bool) -> list[str]:
    """Return lines for people; the last one says what to do next, if anything is left to do."""
    counts = result.counts
    verb = "would become" if dry_run else "became"
    lines = [
        f"{counts.rows} rows: {counts.sessions} {verb} sessions ({counts.records} records of web.sessions), "
        f"{counts.own} are goalpost's own, {counts.unusable_rows} cannot become sessions"
    ]
    if counts.without_visitor:
        lines.append(f"{counts.without_visitor} sessions have no usable ym_uid: only their session_id finds them")
    for why, part in sorted(counts.unusable.items(), key=lambda item: -item[1].rows):
        others = part.rows - len(part.ids)
        named = ", ".join(part.ids) + (f" and {others} more (--unusable FILE writes all)" if others else "")
        lines.append(f"  {part.rows} rows ({part.with_visitor} of them with a usable ym_uid): {why}: {named}")
    if result.seconds > 0:
        lines.append(f"{result.rows_now} rows in {result.seconds:.1f} s, {result.rows_now / result.seconds:.0f} rows/s")
    if not result.finished:
        lines.append("Stopped before the end." + ("" if dry_run else " Run it again: it continues where it stopped."))
    return lines


def _moment(epoch_ms: int | None) -> str | None:
    return None if epoch_ms is None else iso(epoch_ms)
