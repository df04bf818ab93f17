"""The log files of what the sandbox runs: one per process name, with the one of the run before."""

from __future__ import annotations

from pathlib import Path


def fresh_log(logs: Path, name: str) -> Path:
    """The log file for this run, not there yet; the last run's gets the ending `.log.1`. Makes the folder."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    if log.exists():
        log.replace(logs / f"{name}.log.1")
    return log


class Tail:
    """Reads what is appended to a log file, whole lines only."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read_bytes = 0

    def lines(self) -> list[str]:
        """The lines that were completed since the last call."""
        if not self._log.exists():
            return []
        with self._log.open("rb") as file:
            file.seek(self._read_bytes)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(complete) + len(newline)
        return complete.decode(errors="replace").splitlines()
