"""One case played out: a database, a simulator and real uploader processes of its own; then the count."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from sandbox.metrika.faults import Fault
from sandbox.stack import Addresses, Stack
from tests.faults.counting import Conversion, Effort, Verdict, judge
from tests.integration.metrika_world import World, eventually, world

# Every case sends ten files, so that a fault meets some of them and the others must go on around it.
FILES: Final = 10
# A run of fewer conversions is a look, not a proof: kills then come once.
IN_FULL: Final = 1000
SETTLED_WITHIN_SECONDS: Final = 180.0
POISON: Final = "metrika_refuses"
_PAGE: Final = 10_000

# Minutes in production.
_PACE: Final = {
    "GOALPOST_UPLOAD_INTERVAL_SECONDS": "0.3",
    "GOALPOST_METRIKA_ANSWER_SECONDS": "2",
    "GOALPOST_METRIKA_SETTLE_SECONDS": "6",
}

# For an uploader whose request is held until it is killed: it must not give up before, however busy the machine is.
PATIENT: Final = {"GOALPOST_METRIKA_ANSWER_SECONDS": "120", "GOALPOST_METRIKA_SETTLE_SECONDS": "360"}
_QUICK: Final = _PACE | {"GOALPOST_METRIKA_ANSWER_SECONDS": "1", "GOALPOST_METRIKA_SETTLE_SECONDS": "3"}

# What passes by itself. The others are about a file or a token, and end only when a person has done something.
PASSING: Final = tuple(
    fault
    for fault in Fault
    if fault
    not in (
        Fault.RANDOM,
        Fault.HANG,
        Fault.HANG_AFTER_ACCEPT,
        Fault.REJECT,
        Fault.UNAUTHORIZED,
        Fault.INVALID_TOKEN,
        Fault.FORBIDDEN,
    )
)

# Nobody listens there: outcomes wait in Postgres, which must not keep a single upload waiting.
_NO_KAFKA: Final = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"}


class Drill:
    """What a case does things with. Times run from the moment at which the conversions are stored."""

    def __init__(self, here: World, conversions: int, *, seed: int) -> None:
        """``seed`` decides what the case leaves to chance."""
        self.here = here
        self.seed = seed
        self.conversions = conversions
        self.remarks: list[str] = []
        self.kills = 3 if conversions >= IN_FULL else 1
        self._stored_at = 0.0
        self._starts = 0

    def store(self, *, poisonous: int = 0) -> None:
        """Store the conversions, some of which Metrika refuses for their goal."""
        self._stored_at = time.monotonic()
        good = self.conversions - poisonous
        # The poisonous ones are spread, so that they stand in different files.
        for number in range(poisonous):
            self.here.store(good // (poisonous + 1), visitor=10**17 * (number + 1))
            self.here.store(1, visitor=10**17 * (number + 1) + 10**16, target=POISON)
        rest = good - poisonous * (good // (poisonous + 1))
        self.here.store(rest, visitor=10**18)

    @contextmanager
    def uploader(self, **settings: str) -> Iterator[Callable[[], None]]:
        """Run the uploader from when it looks for work; gives the function that kills it with -9."""
        rows = str(max(self.conversions // FILES, 1))
        pace = _PACE if self.conversions >= IN_FULL else _QUICK
        with self.here.sink(**(pace | {"GOALPOST_UPLOAD_ROWS": rows} | settings)) as process:
            self._starts += 1
            eventually(lambda: self.here.log.count("health.started"), lambda count: count >= self._starts, 120)

            def kill() -> None:
                process.kill()
                process.wait()

            yield kill

    def settle(self) -> None:
        """Let the running uploader bring every conversion to its end."""
        self.here.until_settled(within_seconds=SETTLED_WITHIN_SECONDS)

    def until_held(self) -> None:
        """Wait until the simulator keeps a request waiting."""
        eventually(lambda: self.here.control("held"), lambda held: len(held) > 0, 60)

    def post(self, path: str, content: object = None) -> requests.Response:
        """Tell the simulator something."""
        answer = requests.post(f"{self.here.simulator_url}/_control/{path}", json=content, timeout=10)
        answer.raise_for_status()
        return answer

    def require(self, holds: bool, otherwise: str) -> None:
        """Note a violation that the count at the end would not show."""
        if not holds:
            self.remarks.append(otherwise)

    def effort(self) -> Effort:
        """What it took until now."""
        asked = {operation: sum(self.here.requests(operation).values()) for operation in ("upload", "list", "token")}
        seconds = time.monotonic() - self._stored_at
        return Effort(uploads=asked["upload"], lists=asked["list"], tokens=asked["token"], seconds=seconds)

    def stages(self) -> dict[Conversion, str]:
        """Every conversion as Postgres has it."""
        found = self.here.query("SELECT client_id, target, stage FROM webhook_conversions")
        return {(client_id, target): stage for client_id, target, stage in found}

    def accepted(self) -> list[Conversion]:
        """Every row delivery that the simulator took."""
        found: list[Conversion] = []
        while True:
            page = self.here.control("accepted", limit=_PAGE, offset=len(found))
            found += [(row["ClientId"], row["Target"]) for row in page["rows"]]
            if len(found) >= page["total"]:
                return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault. ``play`` stores the conversions, lets the fault happen and the uploader finish."""

    name: str
    happens: str
    play: Callable[[Drill], None]
    poisonous: int = 0
    is_slow: bool = False


def played(case: Case, stack: Addresses, folder: Path, *, conversions: int, seed: int) -> Verdict:
    """Play a case in a world of its own, and count."""
    home = folder / uuid.uuid4().hex
    home.mkdir()
    with world(stack, home) as here:
        drill = Drill(here, conversions, seed=seed)
        try:
            case.play(drill)
        except (AssertionError, requests.RequestException) as error:
            drill.remarks.append(f"not played to its end: {str(error)[:300] or type(error).__name__}")
        return judge(
            case=case.name,
            happens=case.happens,
            stages=drill.stages(),
            accepted=drill.accepted(),
            poisonous=case.poisonous,
            effort=drill.effort(),
            remarks=drill.remarks,
        )


def play_all(
    cases: Sequence[Case],
    stack: Addresses,
    folder: Path,
    *,
    conversions: int,
    side_by_side: int,
    seed: int,
    report: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Play cases side by side, those first that mostly wait; verdicts in the order of the cases."""

    def play(case: Case) -> Verdict:
        verdict = played(case, stack, folder, conversions=conversions, seed=seed)
        report(verdict)
        return verdict

    with ThreadPoolExecutor(side_by_side) as pool:
        running = {case.name: pool.submit(play, case) for case in sorted(cases, key=lambda one: not one.is_slow)}
        return [running[case.name].result() for case in cases]


@contextmanager
def postgres_alone(home: Path) -> Iterator[Addresses]:
    """All that an uploader cannot do without."""
    with Stack(home, given=_NO_KAFKA) as stack:
        yield stack.start()
