"""What became of every conversion, counted at the simulator row by row. Pure: deliveries and stages in, verdict out.

Required is that no row is accepted twice and none is lost: each is accepted once, or refused by Metrika for what it is
and then failed with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Who converted, and by which goal: unique to each conversion of a run.
Conversion = tuple[str, str]

_BELIEVED_ACCEPTED = frozenset({"uploaded", "processed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a run took: requests that reached the simulator, by kind, and seconds until everything was settled."""

    uploads: int
    lists: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The figures of one case; `violations` is empty when it kept the promise."""

    case: str
    happens: str
    conversions: int
    once: int
    twice: int
    never: int
    refused: int
    effort: Effort
    violations: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether nothing was lost and nothing doubled."""
        return not self.violations


def judge(
    *,
    case: str,
    happens: str,
    stages: Mapping[Conversion, str],
    accepted: Iterable[Conversion],
    poisonous: int,
    effort: Effort,
    remarks: Iterable[str] = (),
) -> Verdict:
    """Count. ``stages`` are all conversions as Postgres has them, ``accepted`` every delivery that the simulator took;
    ``remarks`` are violations that were seen on the way.
    """
    times = Counter(accepted)
    failed = {conversion for conversion, stage in stages.items() if stage == "failed"}
    never = [conversion for conversion in stages if not times[conversion] and conversion not in failed]
    lost = [conversion for conversion in never if stages[conversion] in _BELIEVED_ACCEPTED]
    twice = [conversion for conversion in times if times[conversion] > 1]
    unsettled = Counter(stage for stage in stages.values() if stage not in ("processed", "failed"))
    found = {
        "accepted more than once": len(twice),
        "lost": len(lost),
        "failed although Metrika accepted": sum(1 for conversion in failed if times[conversion]),
        "accepted that nobody stored": len(times.keys() - stages.keys()),
        "failed more or less than the poisonous ones": abs(len(failed) - poisonous),
    }
    violations = [f"{count} {what}" for what, count in found.items() if count]
    violations += [f"{count} still {stage}" for stage, count in sorted(unsettled.items())]
    return Verdict(
        case=case,
        happens=happens,
        conversions=len(stages),
        once=sum(1 for conversion in stages if times[conversion] == 1),
        twice=len(twice),
        never=len(never),
        refused=len(failed),
        effort=effort,
        violations=(*violations, *remarks),
    )
