"""The state of one running simulator: what it has accepted, how it is configured, and which failures are scripted."""

import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.faults import Operation, Rule, applied
from sandbox.metrika.quotas import Quotas
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.tokens import Tokens
from sandbox.metrika.uploads import Uploads


@dataclass(slots=True, kw_only=True)
class Simulator:
    """Uploads survive the process; the rest starts anew with it. Changed by the event loop only."""

    uploads: Uploads
    start_configuration: Configuration
    configuration: Configuration
    rules: tuple[Rule, ...] = ()
    answers: Counter[tuple[Operation, str]] = field(default_factory=Counter)
    quotas: Quotas = field(default_factory=Quotas)
    tokens: Tokens = field(default_factory=lambda: Tokens(lambda: secrets.token_urlsafe(32)))

    def now(self) -> float:
        """Epoch seconds by the simulator's clock."""
        return time.time() + self.configuration.clock_offset_seconds

    def admit(self, address: str, token: str | None) -> Refusal | None:
        """Check quotas and token of a request. Unless it is refused, `quotas.leave(token)` must follow."""
        now = self.now()
        return (
            self.quotas.refuse_address(address, now, self.configuration)
            or self.tokens.refuse(token, now, self.configuration)
            or self.quotas.enter(token or "", now, self.configuration)
        )

    def fault(self, operation: Operation, counter: int | None) -> Rule | None:
        """The scripted failure of this request, if any; it counts as used."""
        rule, self.rules = applied(self.rules, operation, counter)
        return rule

    def summary(self) -> dict[str, Any]:
        """Totals over everything accepted, and this process's answers by operation. Reads the database."""
        totals = self.uploads.totals()
        answers: dict[str, dict[str, int]] = {}
        for (operation, label), times in sorted(self.answers.items()):
            answers.setdefault(operation, {})[label] = times
        return {
            "uploads": totals.uploads,
            "rows": totals.rows,
            "distinct_rows": totals.distinct_rows,
            "doubled_rows": totals.doubled_rows,
            "answers": answers,
        }
