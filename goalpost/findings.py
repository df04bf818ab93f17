"""What a check of ``goalpost doctor`` found, and how a dependency that does not answer becomes a finding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from runtime.failures import Fatal, Transient

# Each dependency has timeouts of its own, some seconds; a check makes several requests, and reads topics.
_SECONDS: Final = 60.0


class Verdict(StrEnum):
    """How a check came out.

    ``note`` is worth knowing and fails nothing; ``skipped`` is what has to wait until something else is mended.
    """

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's result; ``remedy`` says what to do and is empty where all is well."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def good(check: str, detail: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, verdict=Verdict.GOOD, detail=detail)


def bad(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that needs a person."""
    return Finding(check=check, verdict=Verdict.BAD, detail=detail, remedy=remedy)


def noted(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that a person should know of, and that is no fault."""
    return Finding(check=check, verdict=Verdict.NOTE, detail=detail, remedy=remedy)


def examined(
    check: str, look: Callable[[], Iterator[Finding]], *, remedy: str, seconds: float = _SECONDS
) -> list[Finding]:
    """Run one check; a dependency that does not answer becomes a finding with ``remedy``, a Fatal brings its own.

    So does one that has not come to an end after ``seconds``: it is left behind on its thread, which ends with the
    process. What it has found by then stays.
    """
    findings: list[Finding] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for finding in look():
                findings.append(finding)
        except Transient as exc:
            findings.append(bad(check, str(exc), remedy))
        except Fatal as exc:
            findings.append(bad(check, str(exc), ""))
        except BaseException as exc:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(exc)

    thread = threading.Thread(target=run, name=f"check {check}", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if thread.is_alive():
        return [*findings, bad(check, f"the check has not ended after {seconds:.0f} s", remedy)]
    return findings
