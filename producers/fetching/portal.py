"""Bitrix24's REST API, as much of it as reading deals takes.

Sources: Bitrix24 REST documentation, "crm.deal.get", "batch", "Limits". Everything in a deal is text or null. PHP
writes an empty object as an empty list.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests
import urllib3

from runtime.certificates import tls_trouble
from runtime.failures import Transient

# What one `batch` call may hold.
BATCH_DEALS: Final = 50

# The documentation's own limit for a request is 60 s.
_TIMEOUT_SECONDS: Final = (5.0, 60.0)
_ANSWER_SECONDS: Final = 60.0
# Fifty deals with a hundred fields each have some hundred kilobytes.
_LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
# A leaky bucket that is full has room again after half a second; this lets it drain.
_FULL_SECONDS: Final = 2.0
# Time that methods have used is counted over ten minutes.
_TIME_USED_UP_SECONDS: Final = 60.0
_OUTAGE_SECONDS: Final = 10.0
_REFUSED_SECONDS: Final = 60.0

_FULL: Final = "QUERY_LIMIT_EXCEEDED"
_TIME_USED_UP: Final = "OPERATION_TIME_LIMIT"
_NOT_FOUND: Final = "not found"
_NO_ACCESS: Final = "access denied"

Deal = Mapping[str, Any]


class PortalBusy(Transient):
    """The portal does not answer now, or wants to be left alone for ``wait_seconds``. Nothing is known of any deal."""

    def __init__(self, why: str, wait_seconds: float) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the portal says of the deals that were asked for; of those in neither mapping it has not said anything."""

    deals: Mapping[str, Deal]
    missing: Mapping[str, str]


class Portal:
    """One portal, by the address of an inbound webhook with the right ``crm``; its last part is a secret."""

    def __init__(self, address: str, session: requests.Session) -> None:
        self._address = address.rstrip("/")
        self._session = session

    def deals(self, numbers: Iterable[str]) -> Found:
        """Ask for at most :data:`BATCH_DEALS` deals in one request.

        Raises:
            PortalBusy: no answer that can be used; ask again.
        """
        commands = {f"d{number}": f"crm.deal.get?id={number}" for number in numbers}
        try:
            answer = self._session.post(
                f"{self._address}/batch.json",
                json={"halt": 0, "cmd": commands},
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                content = _read(answer)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            # The exception's own text holds the address, and with it the secret.
            why = tls_trouble(exc, self._address) or f"the portal does not answer ({type(exc).__name__})"
            raise PortalBusy(why, _OUTAGE_SECONDS) from None
        return _found(_content(answer, content))


def _read(answer: requests.Response) -> bytes:
    """Return the whole answer, which may neither be of any size nor take any time."""
    ends = time.monotonic() + _ANSWER_SECONDS
    content = b""
    while part := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
        content += part
        if len(content) > _LARGEST_ANSWER_BYTES:
            raise PortalBusy("the portal's answer has no end", _REFUSED_SECONDS)
        if time.monotonic() > ends:
            raise PortalBusy(f"the portal's answer takes more than {_ANSWER_SECONDS:.0f} s", _OUTAGE_SECONDS)
    return content


def _content(answer: requests.Response, read: bytes) -> dict[str, Any]:
    try:
        content = json.loads(read)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise PortalBusy(f"the portal answers HTTP {answer.status_code} without JSON", _OUTAGE_SECONDS)
    error = str(content.get("error") or "")
    if error.upper() == _FULL:
        raise PortalBusy("the portal asks for fewer requests", _FULL_SECONDS)
    if error.upper() == _TIME_USED_UP or answer.status_code == requests.codes.too_many_requests:
        raise PortalBusy("the portal's time for this method is used up", _TIME_USED_UP_SECONDS)
    if answer.status_code in (401, 403, 404) or (error and answer.status_code < requests.codes.server_error):
        raise PortalBusy(
            f"the portal refuses (HTTP {answer.status_code}, {error or 'no reason given'}); see that its inbound "
            "webhook exists and has the right crm, then: goalpost admin webhook change --fetch-url",
            _REFUSED_SECONDS,
        )
    if not answer.ok:
        raise PortalBusy(f"the portal answers HTTP {answer.status_code}", _OUTAGE_SECONDS)
    return content


def _found(content: dict[str, Any]) -> Found:
    outer = content.get("result")
    if not isinstance(outer, dict):
        raise PortalBusy("the portal's answer to batch has no result", _OUTAGE_SECONDS)
    results, errors = _mapping(outer.get("result")), _mapping(outer.get("result_error"))
    deals = {name.removeprefix("d"): deal for name, deal in results.items() if isinstance(deal, dict) and deal}
    missing = {}
    for name, error in errors.items():
        described = (
            str(error.get("error_description") or "").strip().rstrip(".").lower() if isinstance(error, dict) else ""
        )
        if described in (_NOT_FOUND, _NO_ACCESS):
            missing[name.removeprefix("d")] = described
    if not deals and not missing:
        raise PortalBusy("the portal's answer to batch names none of the deals", _OUTAGE_SECONDS)
    return Found(deals=deals, missing=missing)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
