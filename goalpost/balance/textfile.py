"""The balance as a file for node_exporter's textfile collector, so that it can be watched like everything else."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from goalpost.balance.equations import Balance


def write(balance: Balance, path: Path) -> None:
    """Write the figures; a reader never sees half of them."""
    registry = CollectorRegistry()
    holds = Gauge("goalpost_ledger_holds", "1 if the equation holds, else 0.", ["equation"], registry=registry)
    broken = Gauge("goalpost_ledger_broken", "What does not add up.", ["equation"], registry=registry)
    counted = Gauge("goalpost_ledger_count", "Both sides of the equations.", ["equation", "part"], registry=registry)
    ran = Gauge("goalpost_ledger_timestamp_seconds", "When the ledger was balanced last.", registry=registry)
    for equation in balance.equations:
        holds.labels(equation.name).set(equation.holds)
        broken.labels(equation.name).set(equation.broken)
        counted.labels(equation.name, "total").set(equation.total)
        for part, count in equation.parts.items():
            counted.labels(equation.name, part).set(count)
    ran.set(time.time())
    write_to_textfile(str(path), registry)
