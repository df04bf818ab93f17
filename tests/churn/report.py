"""What a round's outcome says to people. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.churn.accounting import Account, Sent
from tests.churn.round import Outcome


def lines_of(outcome: Outcome) -> list[str]:
    """Return the lines about one round; the last one is the verdict."""
    found = outcome.account
    counts = f"{found.events} events: {found.converted} converted, {found.waiting} waiting, {found.dead} dead letters"
    done = ", ".join(f"{count} x {what}" for what, count in outcome.done.items())
    unasked = ", ".join(f"{count} workers {what}" for what, count in outcome.happened.items()) or "none"
    return [
        f"{counts}; {found.repeats} conversions were written again",
        f"{done}; unasked for: {unasked}; {outcome.seconds:.0f} s",
        *_problems(found),
        f"{len(found.lost)} lost",
    ]


def _problems(found: Account) -> list[str]:
    named = {
        "lost": found.lost,
        "never read": found.unread,
        "converted and dead at once": found.contradicted,
        "joined with a wrong session, or with none": found.misjoined,
    }
    return [f"{len(events)} {what}: {_places(events)}" for what, events in named.items() if events]


def _places(events: Iterable[Sent]) -> str:
    """Where they stand in ``crm.events.raw``, shortly."""
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    for event in events:
        offsets[event.place[0]].append(event.place[1])
    return "; ".join(f"partition {number}, offsets {_ranges(found)}" for number, found in sorted(offsets.items()))


def _ranges(offsets: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for offset in sorted(offsets):
        if ranges and offset == ranges[-1][-1] + 1:
            ranges[-1][1:] = [offset]
        else:
            ranges.append([offset])
    shown = [f"{found[0]}" if len(found) == 1 else f"{found[0]}-{found[-1]}" for found in ranges]
    return ", ".join([*shown[:5], f"and {len(shown) - 5} more"] if len(shown) > 5 else shown)
