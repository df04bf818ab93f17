"""What a benchmark found: one value, the ratios to its references, and the targets they are held against."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


class Unverified(Exception):
    """The work that was measured was not done, or not as it should be; its figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure should be. ``figure`` is a key of the result; exactly one bound is given."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def met_by(self, value: float) -> bool:
        """Whether ``value`` is within the bound."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the report. ``figures`` holds ratios, latencies and what else explains ``value``."""

    bench: str
    value: float
    unit: str
    figures: Mapping[str, float]
    targets: Sequence[Target] = field(default=())

    def as_json(self) -> str:
        """Return the result as one line of JSON."""
        figures = {name: _rounded(value) for name, value in self.figures.items()}
        return json.dumps({"bench": self.bench, "value": _rounded(self.value), "unit": self.unit, **figures})


def require(done: bool, what: str) -> None:
    """Refuse to report figures of work that was not done.

    Raises:
        Unverified: ``done`` is false; ``what`` says what should have been.
    """
    if not done:
        raise Unverified(what)


def median_ratio(contender: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the ratios round by round: neighbours in time share the machine's mood."""
    return statistics.median(one / other for one, other in zip(contender, reference, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of all values do not exceed; no interpolation."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def print_table(results: Sequence[Result]) -> None:
    """Show results to people."""
    table = Table("benchmark", "figure", "measured", "target", title="goalpost against its references")
    for result in results:
        targets = {target.figure: target for target in result.targets}
        table.add_section()
        table.add_row(f"[bold]{result.bench}", result.unit, f"[bold]{_rounded(result.value):,}", "")
        for name, value in result.figures.items():
            table.add_row("", name, f"{_rounded(value):,}", _verdict(targets.get(name), value))
    Console().print(table)


def _verdict(target: Target | None, value: float) -> str:
    if target is None:
        return ""
    return f"[green]{target} met" if target.met_by(value) else f"[red]{target} missed"


def _rounded(value: float) -> float:
    """Four significant digits: more would only be noise."""
    if value == 0 or float(value).is_integer():
        return int(value)
    decimals = 3 - math.floor(math.log10(abs(value)))
    return round(value, decimals) if decimals > 0 else round(value)
