"""The ledger's decisions: what an answer, or Metrika's own list, makes of an upload. Pure: time comes in.

``prepared -> sending -> accepted -> processed | linkage_failure`` is the good way. ``sending`` is committed before the
request, so an upload that may have happened is never taken for one that has not. Such uploads are looked for in
Metrika's list by their token, and only one that is not there is sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from sinks.metrika.answers import (
    Accepted,
    Forbidden,
    Obstacle,
    Refused,
    Throttled,
    Unauthorized,
    Unclear,
    Unsent,
    UploadAnswer,
    Uploading,
)
from sinks.metrika.conversions import IdType

# Waits grow with the time that the trouble lasts: half of it, within these bounds (shortest, longest).
_CONNECTION_SECONDS: Final = (1.0, 60.0)
_COUNTER_SECONDS: Final = (15.0, 900.0)
_PROCESSING_LONGEST_SECONDS: Final = 3600.0

# Quotas that are free again at once, and those that are free again at 00:00 GMT (Metrika documentation, "Quotas").
_SHORT_QUOTAS: Final = frozenset({"quota_requests_by_ip", "quota_parallel_requests"})
COUNTER_QUOTA: Final = "quota_requests_by_counter_id"
_DAILY_QUOTAS: Final = frozenset({"quota_requests_by_uid", COUNTER_QUOTA})
_SHORT_QUOTA_SECONDS: Final = 1.0
_UNKNOWN_QUOTA_SECONDS: Final = 60.0
_AFTER_MIDNIGHT: Final = timedelta(minutes=1)

_LONGEST_RESEND_SECONDS: Final = 3600.0
_PROCESSED: Final = "PROCESSED"
_LINKAGE_FAILURE: Final = "LINKAGE_FAILURE"


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
    """One row of the ledger. ``attempts`` counts requests that were begun."""

    id: UUID
    id_type: IdType
    token: str
    state: State
    row_count: int
    body_sha256: str
    attempts: int
    metrika_upload_id: str | None
    prepared_at: datetime
    sent_at: datetime | None
    answered_at: datetime | None


def token_for(upload_id: UUID) -> str:
    """Return the upload's comment: letters and digits only, as Metrika documents for comments."""
    return f"goalpost{upload_id.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Metrika has it under this id."""

    uploading: Uploading


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """Come back at ``until`` and find it in ``state``."""

    state: State
    until: datetime
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A bad row is somewhere in it: send its halves instead."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisonous:
    """Its only row is the bad one."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled:
    """Metrika has it more than once: an alarm, and never a further request."""

    uploadings: tuple[Uploading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAgain:
    """Metrika does not have it: the same bytes under the same token may go out once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Metrika has done all it will do. ``linked`` is whether any row found its visit."""

    state: State
    uploading: Uploading
    linked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """Metrika works on it; look again at ``until``."""

    uploading: Uploading
    until: datetime


AfterAnswer = Adopt | Split | Poisonous | Postpone
AfterLook = Adopt | Doubled | SendAgain | Postpone
AfterCheck = Finished | Progressed | Postpone


def after_answer(upload: Upload, answer: UploadAnswer, *, now: datetime) -> AfterAnswer:
    """Decide what the answer to the upload's request means."""
    match answer:
        case Accepted():
            return Adopt(uploading=answer.uploading)
        case Refused():
            return Split(message=answer.message) if upload.row_count > 1 else Poisonous(message=answer.message)
        case Unclear():
            return Postpone(state=State.UNKNOWN, until=now, message=answer.message)
        case Throttled():
            return Postpone(state=State.PREPARED, until=quota_free_at(answer.error_type, now), message=answer.message)
        case Unauthorized():  # the account's gate decides when; the upload itself is ready at any time
            return Postpone(state=State.PREPARED, until=now, message=answer.message)
        case Forbidden():
            until = _growing(upload.prepared_at, now, _COUNTER_SECONDS)
            return Postpone(state=State.PREPARED, until=until, message=answer.message)
        case Unsent():
            until = _growing(upload.prepared_at, now, _CONNECTION_SECONDS)
            return Postpone(state=State.PREPARED, until=until, message=answer.message)
        case _:
            assert_never(answer)


def after_look(upload: Upload, listed: Sequence[Uploading], *, now: datetime, settle_seconds: float) -> AfterLook:
    """Decide what Metrika's whole list means for an upload that was begun before.

    After an answer that left it open, absence counts only once ``settle_seconds`` have passed (doubled with each
    attempt), because nothing is documented about how soon an upload appears in the list.
    """
    matches = {uploading.id: uploading for uploading in listed if uploading.comment == upload.token}
    if len(matches) > 1:
        return Doubled(uploadings=tuple(sorted(matches.values(), key=lambda match: int(match.id))))
    if matches:
        return Adopt(uploading=next(iter(matches.values())))
    if upload.state is State.PREPARED:  # the last request was refused for certain
        return SendAgain()
    since = upload.answered_at or upload.sent_at or upload.prepared_at
    doubled_seconds = min(settle_seconds * 2 ** min(upload.attempts - 1, 10), _LONGEST_RESEND_SECONDS)
    settled_at = since + timedelta(seconds=max(doubled_seconds, settle_seconds))
    if now >= settled_at:
        return SendAgain()
    until = min(_growing(since, now, (settle_seconds / 20, settle_seconds)), settled_at)
    return Postpone(state=upload.state, until=until, message="not in Metrika's list yet")


def after_check(upload: Upload, listed: Sequence[Uploading], *, now: datetime, interval_seconds: float) -> AfterCheck:
    """Decide what Metrika's list means for an accepted upload. Processing takes up to two hours (documentation)."""
    found = next((uploading for uploading in listed if uploading.id == upload.metrika_upload_id), None)
    since = upload.answered_at or upload.prepared_at
    until = _growing(since, now, (min(interval_seconds, _PROCESSING_LONGEST_SECONDS), _PROCESSING_LONGEST_SECONDS))
    if found is None:
        return Postpone(state=State.ACCEPTED, until=until, message="not in Metrika's list")
    if found.status == _LINKAGE_FAILURE:
        return Finished(state=State.LINKAGE_FAILURE, uploading=found, linked=False)
    if found.status == _PROCESSED:
        return Finished(state=State.PROCESSED, uploading=found, linked=found.linked_quantity != 0)
    return Progressed(uploading=found, until=until)


def quota_free_at(error_type: str, now: datetime) -> datetime:
    """Return when a quota that is used up now can be expected to be free again."""
    if error_type in _DAILY_QUOTAS:
        tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time.min, UTC) + _AFTER_MIDNIGHT
    seconds = _SHORT_QUOTA_SECONDS if error_type in _SHORT_QUOTAS else _UNKNOWN_QUOTA_SECONDS
    return now + timedelta(seconds=seconds)


def after_no_list(upload: Upload, obstacle: Obstacle, *, now: datetime) -> Postpone:
    """Decide when to look again after the list itself could not be had."""
    since = upload.answered_at or upload.sent_at or upload.prepared_at
    match obstacle:
        case Throttled():
            until = quota_free_at(obstacle.error_type, now)
        case Unauthorized():
            until = now
        case Forbidden():
            until = _growing(since, now, _COUNTER_SECONDS)
        case Unsent() | Unclear():
            until = _growing(since, now, _CONNECTION_SECONDS)
        case _:
            assert_never(obstacle)
    return Postpone(state=upload.state, until=until, message=f"no list of uploads: {obstacle.message}")


def _growing(since: datetime, now: datetime, bounds: tuple[float, float]) -> datetime:
    shortest, longest = bounds
    return now + timedelta(seconds=min(max((now - since).total_seconds() / 2, shortest), longest))
