"""How the demo looks: a table that fills on a terminal, one plain line per movement elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sandbox.demo.story import Ending
from sandbox.demo.verdict import Told, ending_of
from sandbox.demo.watch import Track
from schemas.topics import CONVERSIONS, RAW, WAITING

_COLOURS: Final = {
    Ending.UPLOADED: "green",
    Ending.REPEAT: "cyan",
    Ending.DEAD_LETTER: "yellow",
    Ending.REFUSED: "magenta",
}
_COLUMNS: Final = (
    ("raw topic", RAW.name),
    ("waiting", WAITING.name),
    ("joined", CONVERSIONS.name),
    ("Postgres", "postgres"),
    ("Metrika", "metrika: uploaded"),
)


class Screen:
    """Shows the story while it happens and what became of it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, story: Sequence[Told], tracks: Mapping[str, Track], news: Sequence[tuple[str, str]]) -> None:
        """Show the story as it stands; ``news`` are (event, place) pairs seen for the first time."""
        if self._live is not None:
            self._live.update(_progress(story, tracks))
            return
        titles = {told.event: told.act.title for told in story if told.act.repeats is None}
        for event, place in news:
            if event in titles:
                self.console.print(
                    f"{tracks[event].seen[place]:6.2f} s  {titles[event]}: {place}", highlight=False, soft_wrap=True
                )

    def answered(self, told: Told) -> None:
        """Say how the webhook service answered."""
        if self._live is None:
            self.console.print(
                f"          {told.act.title}: HTTP {told.status_code} {told.answer}", highlight=False, soft_wrap=True
            )

    def result(self, story: Sequence[Told], tracks: Mapping[str, Track]) -> None:
        """Print what happened to each conversion and why."""
        table = Table(title="What happened to each, and why", title_justify="left", expand=self.console.is_terminal)
        for name, ratio in (("what the CRM sent", 4), ("HTTP", 1), ("it ended as", 2), ("because", 5)):
            table.add_column(name, ratio=ratio)
        for told in story:
            ending = ending_of(told, tracks)
            as_told = ending is told.act.ending
            colour = _COLOURS[ending] if ending is not None and as_told else "bold red"
            shown = (ending.value if ending else "still on its way") + ("" if as_told else " (unexpected)")
            table.add_row(told.act.title, str(told.status_code), f"[{colour}]{shown}[/]", _reason(told, tracks))
        self.console.print(table)


def _reason(told: Told, tracks: Mapping[str, Track]) -> str:
    error_class = tracks[told.event].error_class if told.event is not None and told.event in tracks else None
    return f"{error_class}: {told.act.why}" if error_class and error_class not in told.act.why else told.act.why


def _progress(story: Sequence[Told], tracks: Mapping[str, Track]) -> Table:
    table = Table(title="Seconds until each conversion was seen in each place", title_justify="left", expand=True)
    table.add_column("what the CRM sent", ratio=4)
    for name, _ in _COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("ending", ratio=2)
    for told in story:
        track = tracks.get(told.event or "", Track())
        ending = ending_of(told, tracks)
        cells = [f"{track.seen[place]:.2f}" if place in track.seen else "" for _, place in _COLUMNS]
        shown = f"[{_COLOURS[ending]}]{ending.value}[/]" if ending else "…"
        table.add_row(told.act.title, *cells, shown)
    return table
