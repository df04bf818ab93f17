"""The multipart body of an upload, made while it is sent: the file is never in memory as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

# Metrika documentation, "Offline conversions": part "file", a CSV file. No line of a file can hold the boundary: it
# ends in the upload's own random id.
_HEAD: Final = (
    '--{}\r\nContent-Disposition: form-data; name="file"; filename="data.csv"\r\nContent-Type: text/csv\r\n\r\n'
)
_TAIL: Final = "\r\n--{}--\r\n"


class FileChanged(Exception):
    """The rows of an upload were changed while its file was being sent; the request is broken off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """SHA-256 in hex and length in bytes of a file."""

    sha256: str
    length: int


def fingerprint(chunks: Iterable[bytes]) -> Fingerprint:
    """Read a file to its end."""
    digest, length = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        length += len(chunk)
    return Fingerprint(sha256=digest.hexdigest(), length=length)


class Form:
    """The body of one upload; each iteration makes the file anew, so that a request can be repeated.

    Its length is known beforehand, so it goes out with a Content-Length: nobody promises that Metrika takes chunks.
    """

    def __init__(self, *, boundary: str, file: Callable[[], Iterable[bytes]], expected: Fingerprint) -> None:
        self._head, self._tail = (part.format(boundary).encode() for part in (_HEAD, _TAIL))
        self._file = file
        self._expected = expected
        self.content_type = f"multipart/form-data; boundary={boundary}"

    def __len__(self) -> int:
        return len(self._head) + self._expected.length + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            FileChanged: before the last byte, so that Metrika cannot take the file.
        """
        yield self._head
        digest = hashlib.sha256()
        for chunk in self._file():
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self._expected.sha256:
            raise FileChanged
        yield self._tail
