"""The only HTTP code of the sink: Metrika's conversions and orders, and Yandex OAuth, one request a call, no retries.

Whether a request may be repeated is the ledger's decision, so errors come back as values. Every request has a
connection of its own: a kept one that the server has closed meanwhile would make uploads look unclear.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import requests
from requests.auth import AuthBase
from requests.exceptions import ConnectTimeout
from urllib3.exceptions import MaxRetryError, NewConnectionError

from runtime.certificates import tls_trouble
from runtime.transport import BrokenOff, Connections, session
from sinks.metrika.answer_fields import wait_seconds
from sinks.metrika.answers import (
    ListAnswer,
    TokenAnswer,
    TooLong,
    Unclear,
    Unsent,
    UploadAnswer,
    list_answer,
    order_answer,
    token_answer,
    upload_answer,
)
from sinks.metrika.form import FileChanged, Form

# The documented default and maximum: bytes are cheap, requests are not.
PAGE_ROWS: Final = 10_000

_ORDERS: Final = {"merge_mode": "SAVE", "delimiter_type": "COMMA"}

_CONNECT_SECONDS: Final = 5.0
_OAUTH_SECONDS: Final = 60.0
# Of a request: connecting, sending, receiving. Each has its time, and whatever stretches one, all of them together.
_PARTS: Final = 3
# A full page of the list has about 3 MB; an answer that never ends must not fill the memory.
_LARGEST_ANSWER_BYTES: Final = 32 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024


class _EndlessAnswer(requests.RequestException):
    """The answer is longer than any answer, or takes longer."""


class _SlowSending(Exception):  # not an OSError, which urllib3 would take for the connection's own
    """The body takes longer to send than a request may."""


class _Token(AuthBase):
    """An explicit one, because requests would otherwise prefer a .netrc entry to our header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"OAuth {self._token}"
        return request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None


class Metrika:
    """Metrika's management API. Any thread may call.

    ``answer_seconds`` bounds connecting, sending the body, and receiving the answer, each for itself; three times as
    long bounds the whole request.
    """

    def __init__(self, url: str, *, answer_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._answer_seconds = answer_seconds

    def upload(self, counter: int, token: str, *, form: Form, comment: str) -> UploadAnswer:
        """Upload a CSV file; ``comment`` is what it is found by in the list."""
        path = f"management/v1/counter/{counter}/offline_conversions/upload"
        return self._file(path, token, form, params={"comment": comment}, read=upload_answer)

    def orders(self, counter: int, token: str, *, form: Form) -> UploadAnswer:
        """Upload a CSV file of CRM orders; it replaces what was said of them before."""
        path = f"cdp/api/v1/counter/{counter}/data/simple_orders"
        return self._file(path, token, form, params=_ORDERS, read=order_answer)

    def uploadings(self, counter: int, token: str, *, offset: int) -> ListAnswer:
        """Return one page of the counter's uploads."""
        params = {"limit": PAGE_ROWS, "offset": offset}
        answer = self._ask(
            "GET", f"management/v1/counter/{counter}/offline_conversions/uploadings", token, params=params
        )
        if isinstance(answer, _Answer):
            return list_answer(answer.status, answer.body, retry_after=answer.retry_after)
        return answer

    def _file(
        self, path: str, token: str, form: Form, *, params: Mapping[str, str], read: Callable[..., UploadAnswer]
    ) -> UploadAnswer:
        timed = _Timed(form, self._answer_seconds)
        headers = {"Content-Type": form.content_type}
        try:
            answer = self._ask("POST", path, token, params=params, data=timed, headers=headers)
        except _SlowSending as exc:
            return TooLong(message=str(exc))
        if isinstance(answer, _Answer):
            return read(answer.status, answer.body, retry_after=answer.retry_after)
        return answer

    def _ask(self, method: str, path: str, token: str, **content: Any) -> _Answer | Unsent | Unclear:
        url = f"{self._url}/{path}"
        return _request(method, url, answer_seconds=self._answer_seconds, auth=_Token(token), **content)


class OAuth:
    """Yandex OAuth. Any thread may call."""

    def __init__(self, url: str, *, client_id: str, client_secret: str) -> None:
        self._url = url.rstrip("/")
        self._client = {"client_id": client_id, "client_secret": client_secret}

    def consent_address(self) -> str:
        """Return the address at which a person lets this application act for their account, and gets a code."""
        query = {"response_type": "code", "client_id": self._client["client_id"], "force_confirm": "yes"}
        return str(requests.Request("GET", f"{self._url}/authorize", params=query).prepare().url)

    def exchange(self, code: str) -> TokenAnswer:
        """Exchange the code that a person was shown for tokens."""
        return self._token({"grant_type": "authorization_code", "code": code})

    def refresh(self, refresh_token: str) -> TokenAnswer:
        """Exchange a refresh token for new tokens."""
        return self._token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _token(self, grant: dict[str, str]) -> TokenAnswer:
        form = {**grant, **self._client}
        answer = _request("POST", f"{self._url}/token", answer_seconds=_OAUTH_SECONDS, data=form)
        return token_answer(answer.status, answer.body) if isinstance(answer, _Answer) else answer


class _Timed:
    """A body that is broken off when sending takes too long: it must be over before the upload is looked for."""

    def __init__(self, form: Form, seconds: float) -> None:
        self._form = form
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self._form)

    def __iter__(self) -> Iterator[bytes]:
        deadline = time.monotonic() + self._seconds
        for chunk in self._form:
            # Before each part, never after the last one: then Metrika may have the file.
            if time.monotonic() > deadline:
                raise _SlowSending(f"the file could not be sent within {self._seconds:g} s")
            yield chunk


def _request(method: str, url: str, *, answer_seconds: float, **content: Any) -> _Answer | Unsent | Unclear:
    timeout = (min(_CONNECT_SECONDS, answer_seconds), answer_seconds)
    connections = Connections()
    try:
        # Redirects are not followed: the second request of a redirected upload would be a GET.
        with (
            session(connections, seconds=_PARTS * answer_seconds) as opened,
            opened.request(method, url, timeout=timeout, allow_redirects=False, stream=True, **content) as response,
        ):
            body = _body(response, answer_seconds)
            return _Answer(status=response.status_code, body=body, retry_after=_wait_of(response))
    except ConnectTimeout:
        return Unsent(message=f"no connection within {timeout[0]:g} s")
    except requests.exceptions.SSLError as exc:
        why = tls_trouble(exc, url) or "no TLS"
        return Unclear(message=why) if connections.came_about else Unsent(message=why)
    except requests.ConnectionError as exc:
        if _never_connected(exc):
            return Unsent(message="no connection")
        return Unclear(message="the connection ended without an answer")
    except (_EndlessAnswer, BrokenOff):
        return Unclear(message="the answer does not end")
    except FileChanged:
        return Unclear(message="its rows were changed while they were sent; the request was broken off")
    except requests.RequestException as exc:
        return Unclear(message=f"no usable answer ({type(exc).__name__})")


def _wait_of(response: requests.Response) -> float | None:
    headers = response.headers
    return wait_seconds(headers.get("Retry-After"), headers.get("Date"), now=datetime.now(UTC))


def _body(response: requests.Response, seconds: float) -> bytes:
    deadline, body = time.monotonic() + seconds, bytearray()
    for chunk in response.iter_content(_READ_BYTES):
        body += chunk
        if len(body) > _LARGEST_ANSWER_BYTES or time.monotonic() > deadline:
            raise _EndlessAnswer
    return bytes(body)


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
