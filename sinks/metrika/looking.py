"""The ledger's decisions about Metrika's own list: was an upload taken, and what became of it. Pure: time comes in.

An upload whose answer was lost is looked for by its token, and only one that is provably not there is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, assert_never
from uuid import UUID

from sinks.metrika.answers import Forbidden, Listed, Obstacle, Throttled, Unauthorized, Unclear, Unsent, Uploading
from sinks.metrika.ledger import (
    CONNECTION_SECONDS,
    COUNTER_SECONDS,
    Adopt,
    Postpone,
    State,
    Upload,
    growing,
    quota_free_at,
)

_LONGEST_CHECK_SECONDS: Final = 3600.0
_LONGEST_RESEND_SECONDS: Final = 3600.0
_PROCESSED: Final = "PROCESSED"
_LINKAGE_FAILURE: Final = "LINKAGE_FAILURE"
# From this share of visitors on that were not found, the following files are told apart by goal.
_MANY_UNKNOWN: Final = 0.2


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


AfterLook = Adopt | Doubled | SendAgain | Postpone
AfterCheck = Finished | Progressed | Postpone


def after_look(
    upload: Upload,
    listed: Listed,
    *,
    now: datetime,
    settle_seconds: float,
    nameless: Mapping[UUID, Uploading | None] = MappingProxyType({}),
) -> AfterLook:
    """Decide what Metrika's whole list means for an upload that may have been taken.

    ``nameless`` is what it may be in a list without comments (``recognising``).

    Absence counts only once ``settle_seconds`` have passed since the request (doubled with each attempt), because
    nothing is documented about how soon an upload appears in the list, and only where every entry could be read.
    """
    matches = {uploading.id: uploading for uploading in listed.uploadings if uploading.comment == upload.token}
    if len(matches) > 1:
        return Doubled(uploadings=tuple(sorted(matches.values(), key=lambda match: (len(match.id), match.id))))
    if matches:
        return Adopt(uploading=next(iter(matches.values())))
    since = upload.answered_at or upload.sent_at or upload.prepared_at
    doubled_seconds = min(settle_seconds * 2 ** min(upload.attempts - 1, 10), _LONGEST_RESEND_SECONDS)
    settled_at = since + timedelta(seconds=max(doubled_seconds, settle_seconds))
    if listed.unreadable or listed.ended_by:
        until = growing(since, now, COUNTER_SECONDS)
        message = f"{listed.unreadable} entries of Metrika's list cannot be read, so it may be one of them"
        if listed.ended_by:
            message = f"the rest of Metrika's list could not be had: {listed.ended_by}"
        return Postpone(state=upload.state, until=until, message=message)
    # The last request of a prepared one was refused for certain.
    if now < settled_at and upload.state is not State.PREPARED:
        until = min(growing(since, now, (settle_seconds / 20, settle_seconds)), settled_at)
        return Postpone(state=upload.state, until=until, message="not in Metrika's list yet")
    if upload.id not in nameless:
        return SendAgain()
    recognised = nameless[upload.id]
    if recognised is not None:
        return Adopt(uploading=recognised)
    until = growing(since, now, COUNTER_SECONDS)
    message = "Metrika's list shows no comments, and more than one upload in it may be this one"
    return Postpone(state=upload.state, until=until, message=message)


def after_check(upload: Upload, listed: Listed, *, now: datetime, interval_seconds: float) -> AfterCheck:
    """Decide what Metrika's list means for an accepted upload. Processing takes up to two hours (documentation)."""
    found = next((uploading for uploading in listed.uploadings if uploading.id == upload.metrika_upload_id), None)
    until = next_check(upload, now=now, interval_seconds=interval_seconds)
    if found is None:
        return Postpone(state=State.ACCEPTED, until=until, message="not in Metrika's list")
    if found.status == _LINKAGE_FAILURE:
        return Finished(state=State.LINKAGE_FAILURE, uploading=found, linked=False)
    if found.status == _PROCESSED:
        return Finished(state=State.PROCESSED, uploading=found, linked=found.linked_quantity != 0)
    return Progressed(uploading=found, until=until)


def next_check(upload: Upload, *, now: datetime, interval_seconds: float) -> datetime:
    """Return when to look at an accepted upload again: ever more rarely, and no more often than files are made.

    Every hour for a day. What takes longer is probably stuck, and must not cost a counter's requests for ever.
    """
    since = upload.answered_at or upload.prepared_at
    shortest = min(2 * interval_seconds, _LONGEST_CHECK_SECONDS)
    longest = max(_LONGEST_CHECK_SECONDS, (now - since).total_seconds() / 24)
    return growing(since, now, (shortest, longest))


def after_no_list(upload: Upload, obstacle: Obstacle, *, now: datetime) -> Postpone:
    """Decide when to look again after the list itself could not be had."""
    since = upload.answered_at or upload.sent_at or upload.prepared_at
    match obstacle:
        case Throttled():
            until = quota_free_at(obstacle, now, since=since)
        case Unauthorized():
            until = now
        case Forbidden():
            until = growing(since, now, COUNTER_SECONDS)
        case Unsent() | Unclear():
            until = growing(since, now, CONNECTION_SECONDS)
        case _:
            assert_never(obstacle)
    return Postpone(state=upload.state, until=until, message=f"no list of uploads: {obstacle.message}")


def is_partial(uploading: Uploading) -> bool:
    """Whether Metrika refused or missed lines in a way that a person can do something about."""
    lines = uploading.line_quantity or 0
    refused = (uploading.source_quantity or 0) - lines
    return bool(
        refused > 0
        or uploading.goal_not_found_quantity
        or (uploading.user_not_found_quantity or 0) > _MANY_UNKNOWN * lines
    )


def told(uploading: Uploading, rows: int) -> str | None:
    """Return what is said to other teams about conversions of a file of which Metrika linked only some, else ``None``.

    It says how many, not which.
    """
    linked = uploading.linked_quantity
    if linked is None or linked in (0, rows):
        return None
    return f"Metrika linked {linked} of the {rows} conversions of this upload; it does not say which"
