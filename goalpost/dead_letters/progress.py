"""How ``goalpost dlq replay`` and ``discard`` print as they go, keeping counts and the first few letters only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, assert_never

from goalpost.console import as_json_text, output, write
from goalpost.dead_letters.journal import Run
from goalpost.dead_letters.plan import (
    Action,
    Blocked,
    Failed,
    Republish,
    ResetRow,
    Settle,
    Skipped,
    Untouched,
)
from goalpost.dead_letters.replay import Decided
from goalpost.dead_letters.view import audit_line

# A person reads the first letters to see whether the plan is right; --json has all.
_LISTED: Final = 20

NAMES: Final = (
    *("republish", "republish_fixed", "reset_row", "settle"),
    *("blocked", "failed", "untouched", "skipped", "discard"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A letter and what was or would be done with it, without its value."""

    place: str
    letter_id: str
    event_id: str
    error_class: str
    action: str
    detail: str


def line_of(decided: Decided) -> Line:
    """Return what there is to say about one letter of a replay."""
    action, detail = _words_of(decided.action)
    if len(decided.records) > 1:
        detail += f"; {len(decided.records)} events"
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
        case Republish(topic=topic, effects=effects, fixed=fixed, partly=partly):
            name, how = ("republish_fixed", ", fixed,") if fixed else ("republish", "")
            rest = "; what no rule is for stays ignored" if partly else ""
            return name, f"goes back{how} to {topic}: {', '.join(effects)}{rest}"
        case ResetRow(note=note):
            return "reset_row", "its row goes back to pending: upload" + (f"; {note}" if note else "")
        case Settle(why=why):
            return "settle", f"nothing is left to do: {why}"
        case Blocked(why=why):
            return "blocked", f"blocked by {why}" if why.startswith("upload") else f"blocked: {why}"
        case Failed(why=why):
            return "failed", f"failed: {why}"
        case Untouched():
            return "untouched", "the transform leaves it as it is, or no rule is for it, so it stays"
        case Skipped(why=why):
            return "skipped", f"skipped: {why}"
        case _:
            assert_never(action)


class Listing:
    """What a run, or its dry run, prints."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._first: list[Line] = []
        self._counts: Counter[str] = Counter()
        self._by_class: Counter[tuple[str, str]] = Counter()

    @property
    def letters(self) -> int:
        """How many letters were met."""
        return self._counts.total()

    @property
    def counts(self) -> dict[str, int]:
        """How many letters met which end, zeros included."""
        return {name: self._counts[name] for name in NAMES}

    def take(self, lines: Iterable[Line]) -> None:
        """Take in what happened to some letters; with JSON, print them."""
        for line in lines:
            if self._as_json:
                write('{"letters": [' if self.letters == 0 else ",\n")
                write(as_json_text(asdict(line)))
            elif len(self._first) < _LISTED:
                self._first.append(line)
            self._counts[line.action] += 1
            self._by_class[line.error_class, line.action] += 1

    def end(self, run: Run | None, *, stopped: str = "") -> None:
        """Print the rest. ``run`` is the audit record of what was done, ``None`` after a dry run."""
        if self._as_json:
            summary = {
                "run": asdict(run) if run else None,
                "dry_run": run is None,
                "stopped": stopped,
                "counts": self.counts,
            }
            opening = "], " if self.letters else '{"letters": [], '
            write(f"{opening}{as_json_text(summary)[1:]}\n")
            return
        console = output()
        for line in self._first:
            console.print(f"{line.place}  {line.error_class}  {line.event_id or '-'}\n    {line.detail}")
        if self.letters > len(self._first):
            console.print(f"... and {self.letters - len(self._first)} more; --json lists all.")
        for (error_class, action), count in self._by_class.most_common():
            console.print(f"{count:>9}  {error_class}: {action}")
        if stopped:
            console.print(f"Stopped early: {stopped}.", style="bold")
        console.print(
            audit_line(run) if run else f"{self.letters} letters. Dry run: nothing was written; --execute does it."
        )
