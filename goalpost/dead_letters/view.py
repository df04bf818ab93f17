"""How ``goalpost dlq`` prints letters and runs: tables for people, JSON for programs, personal data for neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table

from goalpost.console import Screen, output, print_json, say
from goalpost.dead_letters.journal import Fate, Run
from goalpost.dead_letters.letter import Letter
from goalpost.dead_letters.masking import TIME_HEADERS, masked, masked_body, masked_header, masked_key, plain
from goalpost.dead_letters.masking import as_json as parsed
from goalpost.lineage import Step
from goalpost.moment import iso
from schemas.records import whole_number

# Topic, error class, stage, webhook, day.
Group = tuple[str, str, str, str, str]
_GROUP: Final = ("topic", "class", "stage", "webhook", "day")

OPEN: Final = "open"
_FATES: Final = (OPEN, *(fate.value for fate in Fate))


def group_of(letter: Letter) -> Group:
    """Return what letters are counted by."""
    return (letter.record.topic, letter.error_class, letter.stage, letter.webhook_id, letter.day)


def show_groups(groups: Mapping[Group, Counter[str]], *, as_json: bool) -> None:
    """Print the counts of ``goalpost dlq ls``: all letters of a group, those that are open, and what became of others.

    ``groups`` counts each by ``open`` or its fate.
    """
    if as_json:
        listed = [
            {
                **dict(zip(_GROUP, group, strict=True)),
                "letters": counts.total(),
                **{fate: counts[fate] for fate in _FATES},
            }
            for group, counts in sorted(groups.items())
        ]
        print_json({"groups": listed})
        return
    if not groups:
        say("There are no such dead letters.")
        return
    table = Table(*_GROUP, box=None)
    for name in ("letters", *_FATES):
        table.add_column(name, justify="right")
    for group, counts in sorted(groups.items()):
        table.add_row(*group, str(counts.total()), *(str(counts[fate]) for fate in _FATES))
    output().print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A letter and what is told of it: its decoded value or ``None``, its event's way or why that is not known."""

    letter: Letter
    fields: dict[str, Any] | None
    way: tuple[Step, ...] | str
    fate: Fate | None


def show_letters(found: Sequence[Shown], *, reveal: bool, as_json: bool) -> None:
    """Print letters one below the other; as JSON the first one, with any further ones of its event as ``others``."""
    contents = [_whole_content(one, reveal=reveal) for one in found]
    if as_json:
        print_json({**contents[0], "others": contents[1:]})
        return
    for one, content in zip(found, contents, strict=True):
        _print_letter(one, content)
    if not reveal:
        output().print("Personal data is masked; --reveal shows it.", style="dim")


def _whole_content(one: Shown, *, reveal: bool) -> dict[str, Any]:
    steps, unknown = ((), one.way) if isinstance(one.way, str) else (one.way, None)
    return {
        **letter_content(one.letter, one.fields, reveal=reveal),
        "state": OPEN if one.fate is None else one.fate.value,
        "way": [{**asdict(step), "at": iso(step.at)} for step in steps],
        "way_unknown": unknown,
    }


def _print_letter(one: Shown, content: Mapping[str, Any]) -> None:
    console, letter = output(), one.letter
    console.print(f"{letter.error_class} at {letter.stage}: {letter.message or '(no message)'}", style="bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for name in ("place", "id", "state", "written_at", "key", "origin", "origin_at"):
        table.add_row(name, str(content[name]))
    for name, value in content["headers"]:
        at = whole_number(value) if name in TIME_HEADERS else None
        table.add_row(name, value if at is None else f"{value} ({iso(at)})")
    console.print(table)
    console.show_json(content["value"])
    _print_way(console, one.way)


def _print_way(console: Screen, way: tuple[Step, ...] | str) -> None:
    if isinstance(way, str):
        console.print(f"The event's way is not shown: {way}.", style="dim")
        return
    table = Table.grid(padding=(0, 2))
    for step in way:
        table.add_row(f"  {iso(step.at)}", step.what, step.where, step.detail)
    console.print(table)


def letter_content(letter: Letter, fields: dict[str, Any] | None, *, reveal: bool) -> dict[str, Any]:
    """Return what there is to show of a letter, masked unless ``reveal``."""
    record = letter.record
    key = (record.key or b"").decode("utf-8", "replace")
    return {
        "id": letter.letter_id,
        "place": letter.place,
        "written_at": iso(record.timestamp),
        "origin_at": iso(letter.origin_ms),
        "origin": f"{letter.origin_topic}:{letter.origin_partition}:{letter.origin_offset}",
        "key": key if reveal else masked_key(record.key),
        "headers": [
            (name, _revealed(value) if reveal else masked_header(name, value)) for name, value in record.headers
        ],
        "value": _value(record.value, fields, reveal=reveal),
    }


def _revealed(value: bytes | None) -> str:
    return "(no value)" if value is None else value.decode("utf-8", "replace")


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


def audit_line(run: Run) -> str:
    """Return who did what, when, and what came of it."""
    counts = ", ".join(f"{count} {name}" for name, count in run.counts.items() if count) or "nothing"
    how = "".join(
        (f", because: {run.reason}" if run.reason else "", f", fixed by {run.transform}" if run.transform else "")
    )
    end = f"to {run.finished_at}: {counts}" if run.finished_at else "and was cut off"
    stopped = f" (stopped: {run.stopped})" if run.stopped else ""
    return f"{run.kind} {run.run_id} by {run.by} of {run.selection}{how}; from {run.started_at} {end}{stopped}"


def show_runs(runs: Iterable[Run]) -> None:
    """Print the audit lines, oldest first."""
    say("\n".join(map(audit_line, runs)) or "Nothing was replayed or discarded yet.")
