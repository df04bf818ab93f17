"""What a check of ``goalpost doctor`` found, and how a dependency that does not answer becomes a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from runtime.failures import Fatal, Transient


class Verdict(StrEnum):
    """How a check came out; ``skipped`` where something else has to be mended first."""

    GOOD = "good"
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


def examined(check: str, look: Callable[[], Iterator[Finding]], *, remedy: str) -> list[Finding]:
    """Run one check; a dependency that does not answer becomes a finding with ``remedy``, a Fatal brings its own."""
    findings: list[Finding] = []
    try:
        findings.extend(look())
    except Transient as exc:
        findings.append(bad(check, str(exc), remedy))
    except Fatal as exc:
        findings.append(bad(check, str(exc), ""))
    return findings
