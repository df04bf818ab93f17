"""What went wrong with TLS, in words that say what to do: to a person, "no answer" would name the wrong machine."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

_REMEDY: Final = (
    "Where a company's proxy reads along, set REQUESTS_CA_BUNDLE to the file with its certificate; else check the "
    "address and this machine's clock"
)


def tls_trouble(error: BaseException, url: str) -> str | None:
    """Return why TLS with the host of ``url`` failed; ``None`` where ``error`` is about something else.

    A certificate that is not trusted is refused before anything is sent. Of ``url`` only the host is told: its path
    may hold a secret.
    """
    host = urlsplit(url).hostname or url
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message or "it cannot be verified"
            return f"the certificate of {host} is not trusted: {why.rstrip('.')}. {_REMEDY}"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            why = cause.reason or type(cause).__name__
            return f"no TLS with {host} ({why}). Check the address, and any proxy on the way"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything it was made of: libraries wrap in arguments, in ``reason``, and by ``from``."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        parts = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [part for part in parts if isinstance(part, BaseException)]
