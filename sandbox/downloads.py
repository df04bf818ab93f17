"""One verified file from the first repository that has it: resumed where it broke off, and never half there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

# Connect, and the longest silence within a download, in seconds.
TIMEOUTS_SECONDS = (10.0, 30.0)
CHUNK_BYTES = 1 << 18
# Attempts that brought nothing new, in a row, before a download is given up: about eight seconds of waiting.
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.5


class DownloadFailed(Exception):
    """A file could be had from none of the repositories."""


class Download:
    """One file to be fetched: where it is kept, how long it is, and what it must hash to."""

    def __init__(self, target: Path, *, size_bytes: int, sha256: str) -> None:
        self.target = target
        self.size_bytes = size_bytes
        self.sha256 = sha256
        self._part = target.with_name(target.name + ".part")

    def run(self, urls: Sequence[str], *, advance: Callable[[int], None], cancelled: threading.Event) -> None:
        """Returns when the verified file is in place; one that is there already is only verified.

        `urls` are tried in turn. `advance` gets the number of bytes that each step brought (negative: lost again).
        Raises DownloadFailed, with the last reason, also when `cancelled` is set meanwhile.
        """
        if self.target.is_file() and _sha256(self.target) == self.sha256:
            advance(self.size_bytes)
            return
        advance(self._present())
        idle, reason = 0, "nothing was tried"
        while idle < ATTEMPTS and not cancelled.is_set():
            before = self._present()
            for url in urls:
                try:
                    self._fetch(url, advance, cancelled)
                    return
                except (requests.RequestException, DownloadFailed) as error:
                    reason = f"{type(error).__name__}: {error}"
            idle = 0 if self._present() > before else idle + 1
            cancelled.wait(FIRST_PAUSE_SECONDS * 2**idle if idle < ATTEMPTS else 0)
        raise DownloadFailed(f"{self.target.name}: {'interrupted' if cancelled.is_set() else reason}")

    def _present(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _fetch(self, url: str, advance: Callable[[int], None], cancelled: threading.Event) -> None:
        present = self._present()
        if present < self.size_bytes:
            self._append(url, present, advance, cancelled)
        if self._present() != self.size_bytes or _sha256(self._part) != self.sha256:
            advance(-self._present())
            self._part.unlink()
            raise DownloadFailed("what came is not what was asked for (size or sha256 differ)")
        self._part.replace(self.target)

    def _append(self, url: str, present: int, advance: Callable[[int], None], cancelled: threading.Event) -> None:
        headers = {"Range": f"bytes={present}-"} if present else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUTS_SECONDS) as response:
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            if present and not resumed:
                advance(-present)
            with self._part.open("ab" if resumed else "wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    if cancelled.is_set():
                        raise DownloadFailed("interrupted")
                    file.write(chunk)
                    advance(len(chunk))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
