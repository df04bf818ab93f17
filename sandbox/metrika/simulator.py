"""The state of one running simulator: what it has accepted, how it is configured, and which failures are scripted."""

import asyncio
import json
import secrets
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from starlette.requests import Request

from sandbox.metrika.configuration import SETTINGS, Configuration, as_json, changed
from sandbox.metrika.database import connect, state_file
from sandbox.metrika.faults import Fault, Operation, Rule, applied
from sandbox.metrika.oauth.codes import Codes, Consent
from sandbox.metrika.oauth.tokens import Tokens
from sandbox.metrika.orders.store import Orders
from sandbox.metrika.quotas import Quotas
from sandbox.metrika.refusals import ACCESS_DENIED, Refusal
from sandbox.metrika.site import Site
from sandbox.metrika.uploads import Uploads

_TABLES = "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
_REQUESTS_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A request that a hanging fault keeps waiting."""

    number: int
    fault: Fault
    path: str
    released: asyncio.Event


class Simulator:
    """What was accepted, tokens, daily quotas, goals, visits and changed settings survive the process; scripted faults,
    held requests and the journal of answers end with it. The event loop is its only user, but for the two stores of
    accepted things.
    """

    def __init__(self, database: Path, configuration: Configuration) -> None:
        """Raises sqlite3.Error when the file can't be used, InvalidConfiguration when it holds a wrong setting."""
        self.uploads, self.orders, self.site = Uploads(database), Orders(database), Site(state_file(database))
        self._state = connect(state_file(database), _TABLES)
        self.quotas = Quotas(self._state)
        self._codes = Codes(self._state, lambda: secrets.token_hex(8))
        self.tokens = Tokens(self._state, self._codes, lambda: f"y0_{secrets.token_urlsafe(32)}")
        self._start_configuration = configuration
        self.configuration = changed(configuration, self._kept_settings())
        self.rules: tuple[Rule, ...] = ()
        self.answers: Counter[tuple[Operation, str]] = Counter()
        self.requests: deque[dict[str, Any]] = deque(maxlen=_REQUESTS_REMEMBERED)
        self.held: dict[int, Held] = {}
        self.stop_listening: Callable[[float], Awaitable[None]] | None = None
        self._numbers = count(1)

    def now(self) -> float:
        """Epoch seconds by the simulator's clock."""
        return time.time() + self.configuration.clock_offset_seconds

    def change(self, changes: object) -> None:
        """Change settings, for later starts as well. Raises `InvalidConfiguration` and changes nothing."""
        self.configuration = changed(self.configuration, changes)
        assert isinstance(changes, dict)  # noqa: S101 -- changed() has refused everything else
        settings = as_json(self.configuration)
        kept = [(name, json.dumps(settings[name])) for name in changes]
        self._state.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", kept)

    def reset(self) -> None:
        """Return to the settings of the start."""
        self._state.execute("DELETE FROM setting")
        self.configuration = self._start_configuration

    def admit(self, address: str, token: str | None, counter: int | None) -> str | Refusal:
        """Check quotas, token and access; gives the login. Unless it is refused, `quotas.leave(login)` must follow."""
        now, configuration = self.now(), self.configuration
        # A second is a second, however far the simulator's clock was moved.
        if refused := self.quotas.refuse_address(address, time.monotonic(), configuration):
            return refused
        if refused := self.tokens.refuse(token, now, configuration):
            return refused
        login = self.tokens.login_of(token or "", configuration)
        allowed = configuration.counters_by_login.get(login)
        if allowed is not None and counter is not None and counter not in allowed:
            return ACCESS_DENIED
        return self.quotas.enter(login, counter, now, configuration) or login

    def fault(self, operation: Operation, counter: int | None) -> Rule | None:
        """The scripted failure of this request, if any; it counts as used."""
        rule, self.rules = applied(self.rules, operation, counter)
        return rule

    def give_code(self, consent: Consent) -> str:
        """An authorization code for a person's consent."""
        return self._codes.give(consent, self.now() + self.configuration.authorization_code_seconds)

    def answered(self, operation: Operation, label: str, *, counter: int | None, login: str, seconds: float) -> None:
        """Count an answer, and note it in the journal."""
        self.answers[operation, label] += 1
        at = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds")
        entry = {"at": at, "operation": operation.value, "answer": label, "counter": counter, "login": login}
        self.requests.append({**entry, "seconds": round(seconds, 3)})

    @contextmanager
    def holding(self, fault: Fault, request: Request) -> Iterator[asyncio.Event]:
        """Show a request as held while the block lasts; the event is set when it is released."""
        held = Held(number=next(self._numbers), fault=fault, path=request.url.path, released=asyncio.Event())
        self.held[held.number] = held
        try:
            yield held.released
        finally:
            del self.held[held.number]

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
            "overwritten_rows": totals.overwritten_rows,
            "doubled_rows": totals.doubled_rows,
            "orders": self.orders.count(),
            "answers": answers,
        }

    def close(self) -> None:
        """Close the files."""
        self.uploads.close()
        self.orders.close()
        self.site.close()
        self._state.close()

    def _kept_settings(self) -> dict[str, Any]:
        kept: list[sqlite3.Row] = self._state.execute("SELECT name, value FROM setting").fetchall()
        # A setting that this version does not have was kept by another one; it means nothing here.
        return {row["name"]: json.loads(row["value"]) for row in kept if row["name"] in SETTINGS}
