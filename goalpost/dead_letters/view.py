"""How ``goalpost dlq`` prints: tables for people, JSON for programs, and personal data for neither unless asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, assert_never

import click
from rich.table import Table

from goalpost.console import output
from goalpost.dead_letters.journal import Run
from goalpost.dead_letters.letter import Letter
from goalpost.dead_letters.masking import as_json as parsed
from goalpost.dead_letters.masking import masked, masked_body, masked_header, masked_key, plain
from goalpost.dead_letters.plan import Action, Blocked, Republish, ResetRow, Skipped
from goalpost.dead_letters.replay import Decided

# Topic, error class, stage, webhook, day.
Group = tuple[str, str, str, str, str]
_GROUP: Final = ("topic", "class", "stage", "webhook", "day")

# A person reads the first letters to see whether the plan is right; --json has all.
_LISTED: Final = 20


def group_of(letter: Letter) -> Group:
    """Return what letters are counted by."""
    return (letter.record.topic, letter.error_class, letter.stage, letter.webhook_id, letter.day)


def show_groups(groups: Mapping[Group, int], unreplayed: Mapping[Group, int], *, as_json: bool) -> None:
    """Print the counts of ``goalpost dlq ls``."""
    if as_json:
        listed = [
            {**dict(zip(_GROUP, group, strict=True)), "letters": count, "open": unreplayed[group]}
            for group, count in sorted(groups.items())
        ]
        click.echo(json.dumps(listed, ensure_ascii=False))
        return
    if not groups:
        click.echo("There are no such dead letters.")
        return
    table = Table("topic", "class", "stage", "webhook", "day", box=None)
    table.add_column("letters", justify="right")
    table.add_column("open", justify="right")
    for group, count in sorted(groups.items()):
        table.add_row(*group, str(count), str(unreplayed[group]))
    output().print(table)


def show_letter(letter: Letter, fields: dict[str, Any] | None, *, reveal: bool, as_json: bool) -> None:
    """Print one letter. ``fields`` is the decoded value or ``None``."""
    content = letter_content(letter, fields, reveal=reveal)
    if as_json:
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    console = output()
    console.print(f"{letter.error_class} at {letter.stage}: {letter.message or '(no message)'}", style="bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for name in ("place", "id", "key", "origin"):
        table.add_row(name, str(content[name]))
    for name, value in content["headers"]:
        table.add_row(name, value)
    console.print(table)
    console.print_json(data=content["value"])
    if not reveal:
        console.print("Personal data is masked; --reveal shows it.", style="dim")


def letter_content(letter: Letter, fields: dict[str, Any] | None, *, reveal: bool) -> dict[str, Any]:
    """Return what there is to show of a letter, masked unless ``reveal``."""
    record = letter.record
    key = (record.key or b"").decode("utf-8", "replace")
    return {
        "id": letter.letter_id,
        "place": letter.place,
        "origin": f"{letter.origin_topic}:{letter.origin_partition}:{letter.origin_offset}",
        "key": key if reveal else masked_key(record.key),
        "headers": [
            (name, value.decode("utf-8", "replace") if reveal else masked_header(name, value))
            for name, value in record.headers
        ],
        "value": _value(record.value, fields, reveal=reveal),
    }


def _value(value: bytes | None, fields: dict[str, Any] | None, *, reveal: bool) -> Any:
    if fields is not None:
        return plain(fields) if reveal else masked(fields)
    if value is None:
        return None
    body = parsed(value)
    if body is not None:
        return plain(body) if reveal else masked_body(body)
    text = value.decode("utf-8", "backslashreplace")
    return text if reveal else f"({len(value)} bytes that do not decode)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A letter and what was or would be done with it, without its value: a run may have a million."""

    place: str
    letter_id: str
    event_id: str
    error_class: str
    action: str
    detail: str


def line_of(decided: Decided) -> Line:
    """Return what there is to say about one letter of a replay."""
    action, detail = _words_of(decided.action)
    letter = decided.letter
    return Line(
        place=letter.place,
        letter_id=letter.letter_id,
        event_id=letter.event_id,
        error_class=letter.error_class,
        action=action,
        detail=detail,
    )


def _words_of(action: Action) -> tuple[str, str]:
    """Return an action as its stable name and a sentence."""
    match action:
        case Republish(topic=topic):
            return "republish", f"re-publish to {topic}"
        case ResetRow(note=note):
            return "reset_row", "its row goes back to pending" + (f"; {note}" if note else "")
        case Blocked(why=why):
            return "blocked", f"blocked: {why}"
        case Skipped(why=why):
            return "skipped", f"skipped: {why}"
        case _:
            assert_never(action)


def counts_of(lines: Iterable[Line]) -> dict[str, int]:
    """Count by action, zeros included."""
    counts = Counter(line.action for line in lines)
    return {name: counts[name] for name in ("republish", "reset_row", "blocked", "skipped")}


def show_replay(lines: Sequence[Line], run: Run | None, *, as_json: bool) -> None:
    """Print what was done (``run`` is given) or would be done."""
    if as_json:
        content = {
            "run": asdict(run) if run else None,
            "dry_run": run is None,
            "counts": counts_of(lines),
            "letters": [asdict(line) for line in lines],
        }
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    console = output()
    if lines:
        table = Table("letter", "event", "class", "what happened" if run else "what would happen", box=None)
        for line in lines[:_LISTED]:
            table.add_row(line.place, line.event_id, line.error_class, line.detail)
        console.print(table)
    if len(lines) > _LISTED:
        console.print(f"... and {len(lines) - _LISTED} more; --json lists all.")
    for (error_class, detail), count in Counter((line.error_class, line.detail) for line in lines).most_common():
        console.print(f"{count:>7}  {error_class}: {detail}")
    if run is None:
        console.print(f"{len(lines)} letters. Dry run: nothing was written; --execute does it.")
    else:
        console.print(_audit_line(run))


def _audit_line(run: Run) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in run.counts.items()) or "cut off"
    return f"run {run.run_id} by {run.by}, {run.started_at} to {run.finished_at or '?'}: {run.selection}: {counts}"


def show_runs(runs: Iterable[Run]) -> None:
    """Print the audit lines, oldest first."""
    click.echo("\n".join(map(_audit_line, runs)) or "Nothing was replayed yet.")
