"""What Metrika and Yandex OAuth answered, as closed unions.

Sources: Metrika API documentation, "Errors" and "Quotas"; Yandex ID documentation, "Refreshing a token". Where they
contradict each other (401 or 403 for a bad token, 420 or 429 for a quota) both are understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sinks.metrika.answer_fields import content_of, identifier, moment, printable, whole, word

# Errors of the file itself, and errors that can only be about the request. Of the other 400s nobody knows: which error
# a bad row gets is not documented.
_FILE_ERRORS: Final = frozenset({"invalid_uploading", "limit_exceeded", "too_much_rows"})
_REQUEST_ERRORS: Final = frozenset({"missing_parameter", "invalid_json", "query_error", "filter_limits"})
_TOKEN_ERRORS: Final = frozenset({"invalid_token", "unauthorized"})
# Redirects that promise the same request elsewhere. After the others what was asked for may have been done.
_ONLY_MOVED: Final = frozenset({307, 308})

_MESSAGE_LIMIT: Final = 300
# E-mail addresses, long numbers (ClientId, phone) and long mixed tokens: Metrika may quote the row or the token.
_PRIVATE: Final = re.compile(r"[^\s@]{1,64}@\S+|(?<![\w-])(?=[\w-]*?\d)[\w-]{20,}|\d{7,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploading:
    """Metrika's record of one upload. What an answer lacks is ``None``, a comment empty."""

    id: str
    status: str
    comment: str
    source_quantity: int | None
    line_quantity: int | None
    linked_quantity: int | None
    goal_not_found_quantity: int | None
    user_not_found_quantity: int | None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Metrika took the file."""

    uploading: Uploading


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Uploads of the counter. What might be any other one leaves absence unproved.

    ``unreadable`` counts such entries; ``ended_by`` says why the rest could not be had.
    """

    uploadings: tuple[Uploading, ...]
    unreadable: int = 0
    ended_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The file is bad: at least one of its rows. ``error_type`` is Metrika's word for the cause.

    ``certain``: it is a word for files. Without it the cause may be the request or the counter as well.
    """

    message: str
    error_type: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLong:
    """The file could not be sent in the time there is; without its end Metrika cannot have taken it."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """A quota is used up; ``error_type`` says which one. ``retry_after_seconds`` is what the answer itself asks for."""

    error_type: str
    message: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized:
    """The token is not valid, so no counter of the account can be asked anything."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """This counter cannot be asked: no access, no such counter, or a request that Metrika does not understand."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """No connection came about, so Metrika knows nothing of the request."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Metrika may or may not have done it."""

    message: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """New tokens; the refresh token that was used may be void from now on."""

    access_token: str
    refresh_token: str | None
    expires_in_seconds: int | None


Obstacle = Throttled | Unauthorized | Forbidden | Unsent | Unclear
UploadAnswer = Accepted | Refused | TooLong | Obstacle
ListAnswer = Listed | Obstacle
TokenAnswer = Refreshed | Unauthorized | Unsent | Unclear


def upload_answer(status: int, body: bytes, *, retry_after: float | None = None) -> UploadAnswer:
    """Read the answer to an upload; ``retry_after`` is the wait in seconds that its header asks for."""
    if not _is_success(status):
        return _error(status, body, retry_after)
    uploading = _uploading(content_of(body).get("uploading"))
    if uploading is None:
        return Unclear(message=f"HTTP {status} without uploading.id")
    return Accepted(uploading=uploading)


def order_answer(status: int, body: bytes, *, retry_after: float | None = None) -> UploadAnswer:
    """Read the answer to a file of CRM orders. It says whether the file is valid, and never anything of its lines."""
    if not _is_success(status):
        return _error(status, body, retry_after)
    uploading = content_of(body).get("uploading")
    found = uploading if isinstance(uploading, dict) else {}
    match word(found.get("api_validation_status")), identifier(found.get("uploading_id")):
        case "FAILED", _:
            message = "Metrika's validation of the orders failed (api_validation_status); it does not say why"
            return Refused(message=message, error_type="api_validation_status")
        case "PASSED" as status_text, str() as number:
            return Accepted(uploading=_order_uploading(number, status_text, whole(found.get("elements_count"))))
        case _:
            return Unclear(message=f"HTTP {status} without uploading.uploading_id and api_validation_status")


def list_answer(status: int, body: bytes, *, retry_after: float | None = None) -> ListAnswer:
    """Read a page of the list of uploads."""
    if not _is_success(status):
        answer = _error(status, body, retry_after)
        return Forbidden(message=answer.message) if isinstance(answer, Refused) else answer
    content = content_of(body)
    entries = content.get("uploadings")
    if entries is None and "uploadings" in content:
        return Listed(uploadings=())
    if not isinstance(entries, list):
        return Unclear(message=f"HTTP {status} without uploadings")
    readable = tuple(found for found in map(_uploading, entries) if found is not None)
    return Listed(uploadings=readable, unreadable=len(entries) - len(readable))


def token_answer(status: int, body: bytes) -> TokenAnswer:
    """Read OAuth's answer to a refresh token or a code."""
    content = content_of(body)
    if status in (400, 401, 403):
        return Unauthorized(message=redacted(f"HTTP {status} {content.get('error', '')}".strip()))
    token, refresh = content.get("access_token"), content.get("refresh_token")
    if status != 200 or not isinstance(token, str):
        return Unclear(message=f"HTTP {status} without new tokens")
    return Refreshed(
        access_token=token,
        refresh_token=refresh if isinstance(refresh, str) else None,
        expires_in_seconds=whole(content.get("expires_in")),
    )


def redacted(text: str) -> str:
    """Return ``text`` without what may identify a person or open an account, cut to a length fit for logs."""
    return _PRIVATE.sub("<hidden>", printable(text).strip())[:_MESSAGE_LIMIT]


def _is_success(status: int) -> bool:
    # Only 200 is documented; another 2xx says no less that the file was taken.
    return 200 <= status < 300


def _error(status: int, body: bytes, retry_after: float | None) -> Refused | Obstacle:
    error_type, text = _described(content_of(body))
    message = redacted(f"HTTP {status} {error_type} {text}".strip())
    if status in (420, 429):
        return Throttled(error_type=error_type, message=message, retry_after_seconds=retry_after)
    if status == 401 or (status == 403 and error_type in _TOKEN_ERRORS):
        return Unauthorized(message=message)
    if status == 413 or (status == 400 and error_type in _FILE_ERRORS):
        return Refused(message=message, error_type=error_type)
    if status == 422 or (status == 400 and error_type not in _REQUEST_ERRORS):
        return Refused(message=message, error_type=error_type, certain=False)
    if status in (408, 409) or status >= 500 or (status < 400 and status not in _ONLY_MOVED):
        return Unclear(message=message, retry_after_seconds=retry_after)
    return Forbidden(message=message)


def _described(content: dict[str, Any]) -> tuple[str, str]:
    errors = content.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return printable(str(first.get("error_type") or "")), str(first.get("message") or content.get("message") or "")


def _uploading(entry: Any) -> Uploading | None:
    number = identifier(entry.get("id")) if isinstance(entry, dict) else None
    if number is None:
        return None
    return Uploading(
        id=number,
        status=word(entry.get("status")),
        comment=str(entry.get("comment") or ""),
        source_quantity=whole(entry.get("source_quantity")),
        line_quantity=whole(entry.get("line_quantity")),
        linked_quantity=whole(entry.get("linked_quantity")),
        goal_not_found_quantity=whole(entry.get("goal_not_found_quantity")),
        user_not_found_quantity=whole(entry.get("user_not_found_quantity")),
        created_at=moment(entry.get("create_time")),
    )


def _order_uploading(number: str, status: str, elements: int | None) -> Uploading:
    return Uploading(
        id=number,
        status=status,
        comment="",
        source_quantity=elements,
        line_quantity=None,
        linked_quantity=None,
        goal_not_found_quantity=None,
        user_not_found_quantity=None,
    )
