"""The equations and what breaks them: pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from goalpost.balance.sightings import Totals
from goalpost.balance.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something that breaks an equation: an event's id or an upload, where it is known from, and why."""

    name: str
    place: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """``total`` has to be the sum of ``parts``. ``broken`` counts what does not add up, ``named`` is its first."""

    name: str
    total: int
    parts: Mapping[str, int]
    broken: int = 0
    named: tuple[Named, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether both sides are equal and nothing in it contradicts itself."""
        return self.broken == 0 and self.total == sum(self.parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """All equations. ``replayed`` counts events that came back from the dead, ``bodies`` kept bodies by their fate."""

    since: str
    equations: tuple[Equation, ...]
    replayed: int
    bodies: Mapping[str, int]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every equation does."""
        return all(equation.holds for equation in self.equations)


def received(totals: Totals, *, broken: int, named: tuple[Named, ...]) -> Equation:
    """Return the first equation: every delivery is a repeat, or its event stands in exactly one place."""
    parts = {one.value: count for one, count in totals.standing.items() if one is not Standing.MISSING}
    return Equation(
        name="received", total=totals.received, parts={"repeats": totals.repeats, **parts}, broken=broken, named=named
    )
