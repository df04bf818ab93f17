"""The ledger's decisions about a request: what an answer makes of an upload. Pure: time comes in.

``prepared -> sending -> accepted -> processed | linkage_failure`` is the good way. ``sending`` is committed before the
request, so an upload that may have happened is never taken for one that has not (``looking``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from sinks.metrika.answers import (
    Accepted,
    Forbidden,
    Refused,
    Throttled,
    TooLong,
    Unauthorized,
    Unclear,
    Unsent,
    UploadAnswer,
    Uploading,
)
from sinks.metrika.conversions import IdType
from sinks.metrika.planning import day_ends

# Waits grow with the time that the trouble lasts: half of it, within these bounds (shortest, longest).
CONNECTION_SECONDS: Final = (1.0, 60.0)
COUNTER_SECONDS: Final = (15.0, 900.0)
ORDERS_SECONDS: Final = (1.0, 900.0)

# Quotas that are free again at once, and those that are free again at 00:00 GMT (Metrika documentation, "Quotas"). A
# daily one is asked about all the same, ever more rarely, down to once an hour: whose day it is, and when it ends, is
# Metrika's affair. Of one without a known name nobody knows.
ADDRESS_QUOTA: Final = "quota_requests_by_ip"
COUNTER_QUOTA: Final = "quota_requests_by_counter_id"
ACCOUNT_QUOTA: Final = "quota_requests_by_uid"
_SHORT_QUOTAS: Final = frozenset({ADDRESS_QUOTA, "quota_parallel_requests"})
_DAILY_QUOTAS: Final = frozenset({ACCOUNT_QUOTA, COUNTER_QUOTA})
_SHORT_QUOTA_SECONDS: Final = 1.0
_UNKNOWN_QUOTA_SECONDS: Final = (5.0, 60.0)
_DAILY_QUOTA_SECONDS: Final = (60.0, 3600.0)
# Where Metrika's word is not one for files, it takes as many to believe that the row is bad, and not the moment.
_OBJECTIONS: Final = 3


class State(StrEnum):
    """Where an upload stands (``metrika_uploads.state``)."""

    PREPARED = "prepared"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PROCESSED = "processed"
    LINKAGE_FAILURE = "linkage_failure"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One row of the ledger.

    ``attempts`` counts requests that were begun.
    ``target`` and ``source`` are what its rows have in common. ``next_check_at``: not before it does anything follow.
    """

    id: UUID
    id_type: IdType
    token: str
    state: State
    row_count: int
    body_sha256: str
    attempts: int
    metrika_upload_id: str | None
    metrika_status: str | None
    prepared_at: datetime
    sent_at: datetime | None
    answered_at: datetime | None
    next_check_at: datetime | None
    target: str | None
    source: str | None

    def is_due(self, now: datetime) -> bool:
        """Whether something is to be done about it now."""
        return self.next_check_at is None or self.next_check_at <= now


def token_for(upload_id: UUID) -> str:
    """Return the upload's comment: letters and digits only, as Metrika documents for comments."""
    return f"goalpost{upload_id.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Metrika has it under this id."""

    uploading: Uploading


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """Come back at ``until`` and find it in ``state``. ``maybe_taken``: the last request may have been done."""

    state: State
    until: datetime
    message: str
    maybe_taken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A bad row is somewhere in it: send its halves instead."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisonous:
    """Its only row is the bad one. ``error_type`` is Metrika's word for the cause."""

    message: str
    error_type: str


AfterAnswer = Adopt | Split | Poisonous | Postpone


def after_answer(upload: Upload, answer: UploadAnswer, *, now: datetime) -> AfterAnswer:
    """Decide what the answer to the upload's request means."""
    match answer:
        case Accepted():
            return Adopt(uploading=answer.uploading)
        case Refused() | TooLong() if upload.row_count > 1:
            return Split(message=answer.message)
        case Refused(certain=False) if upload.attempts < _OBJECTIONS:
            until = growing(upload.prepared_at, now, COUNTER_SECONDS)
            return Postpone(state=State.PREPARED, until=until, message=answer.message)
        case Refused():
            return Poisonous(message=answer.message, error_type=answer.error_type)
        case Unclear() if upload.id_type is IdType.CONTACT:
            # The same orders sent again are the same orders, and no list would tell whether Metrika has them.
            asked = now + timedelta(seconds=answer.retry_after_seconds or 0)
            until = max(asked, growing(upload.prepared_at, now, ORDERS_SECONDS))
            return Postpone(state=State.PREPARED, until=until, message=answer.message, maybe_taken=True)
        case Unclear():
            until = now + timedelta(seconds=answer.retry_after_seconds or 0)
            return Postpone(state=State.UNKNOWN, until=until, message=answer.message)
        case Throttled() | Unauthorized() | Forbidden() | Unsent() | TooLong():
            return Postpone(state=State.PREPARED, until=_again_at(upload, answer, now), message=answer.message)
        case _:
            assert_never(answer)


def _again_at(
    upload: Upload, answer: Throttled | Unauthorized | Forbidden | Unsent | TooLong, now: datetime
) -> datetime:
    match answer:
        case Throttled():
            return quota_free_at(answer, now, since=upload.prepared_at)
        case Unauthorized():  # the account's gate decides when; the upload itself is ready at any time
            return now
        case Forbidden():
            return growing(upload.prepared_at, now, COUNTER_SECONDS)
        case Unsent() | TooLong():
            return growing(upload.prepared_at, now, CONNECTION_SECONDS)
        case _:
            assert_never(answer)


def quota_free_at(answer: Throttled, now: datetime, *, since: datetime) -> datetime:
    """Return when a quota that has been used up ``since`` then is to be tried again.

    When the answer says so, else as documented.
    """
    if answer.retry_after_seconds is not None:
        return now + timedelta(seconds=max(answer.retry_after_seconds, _SHORT_QUOTA_SECONDS))
    if answer.error_type in _DAILY_QUOTAS:
        return min(day_ends(now), growing(since, now, _DAILY_QUOTA_SECONDS))
    if answer.error_type in _SHORT_QUOTAS:
        return now + timedelta(seconds=_SHORT_QUOTA_SECONDS)
    return growing(since, now, _UNKNOWN_QUOTA_SECONDS)


def growing(since: datetime, now: datetime, bounds: tuple[float, float]) -> datetime:
    """Return when to come back to a trouble that has lasted since then."""
    shortest, longest = bounds
    return now + timedelta(seconds=min(max((now - since).total_seconds() / 2, shortest), longest))
