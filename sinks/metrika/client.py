"""The only HTTP code of the sink: Metrika's offline conversions and Yandex OAuth, one request a call, no retries.

Whether a request may be repeated is the ledger's decision, so errors come back as values. Every request has a
connection of its own: a kept one that the server has closed meanwhile would make uploads look unclear.
"""

from __future__ import annotations

from typing import Any, Final

import requests
from requests.auth import AuthBase
from requests.exceptions import ConnectTimeout
from urllib3.exceptions import MaxRetryError, NewConnectionError

from sinks.metrika.answers import (
    ListAnswer,
    RefreshAnswer,
    Unclear,
    Unsent,
    UploadAnswer,
    list_answer,
    refresh_answer,
    upload_answer,
)

# The largest page that the documentation names is 10 000; small pages keep frequent looks cheap.
PAGE_ROWS: Final = 1000

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 60.0


class _Token(AuthBase):
    """An explicit one, because requests would otherwise prefer a .netrc entry to our header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"OAuth {self._token}"
        return request


class Metrika:
    """Metrika's management API. Any thread may call."""

    def __init__(self, url: str, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
        self._url = url.rstrip("/")
        self._answer_seconds = answer_seconds

    def upload(self, counter: int, token: str, *, body: bytes, comment: str) -> UploadAnswer:
        """Upload a CSV file; ``comment`` is what it is found by in the list."""
        files = {"file": ("data.csv", body, "text/csv")}
        answer = self._ask("POST", counter, "upload", token, params={"comment": comment}, files=files)
        return upload_answer(answer.status_code, answer.content) if isinstance(answer, requests.Response) else answer

    def uploadings(self, counter: int, token: str, *, offset: int) -> ListAnswer:
        """Return one page of the counter's uploads."""
        params = {"limit": PAGE_ROWS, "offset": offset}
        answer = self._ask("GET", counter, "uploadings", token, params=params)
        return list_answer(answer.status_code, answer.content) if isinstance(answer, requests.Response) else answer

    def _ask(
        self, method: str, counter: int, operation: str, token: str, **content: Any
    ) -> requests.Response | Unsent | Unclear:
        url = f"{self._url}/management/v1/counter/{counter}/offline_conversions/{operation}"
        return _request(method, url, answer_seconds=self._answer_seconds, auth=_Token(token), **content)


class OAuth:
    """Yandex OAuth. Any thread may call."""

    def __init__(self, url: str, *, client_id: str, client_secret: str) -> None:
        self._url = url.rstrip("/")
        self._client = {"client_id": client_id, "client_secret": client_secret}

    def refresh(self, refresh_token: str) -> RefreshAnswer:
        """Exchange a refresh token for new tokens."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **self._client}
        answer = _request("POST", f"{self._url}/token", answer_seconds=_ANSWER_SECONDS, data=form)
        return refresh_answer(answer.status_code, answer.content) if isinstance(answer, requests.Response) else answer


def _request(method: str, url: str, *, answer_seconds: float, **content: Any) -> requests.Response | Unsent | Unclear:
    try:
        # Redirects are not followed: the second request of a redirected upload would be a GET.
        return requests.request(
            method, url, timeout=(_CONNECT_SECONDS, answer_seconds), allow_redirects=False, **content
        )
    except ConnectTimeout:
        return Unsent(message=f"no connection within {_CONNECT_SECONDS:.0f} s")
    except requests.ConnectionError as exc:
        if _never_connected(exc):
            return Unsent(message="no connection")
        return Unclear(message="the connection ended without an answer")
    except requests.RequestException as exc:
        return Unclear(message=f"no usable answer ({type(exc).__name__})")


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
