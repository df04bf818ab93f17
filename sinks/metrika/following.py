"""Uploads that Metrika may know, or has: all of a counter's are looked up in one reading of Metrika's list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Final, assert_never
from uuid import UUID

from runtime.logs import logger
from runtime.metrics import UPLOADS
from sinks.metrika.answers import Forbidden, Listed, Obstacle, Uploading
from sinks.metrika.client import PAGE_ROWS
from sinks.metrika.ledger import Adopt, Postpone, State, Upload
from sinks.metrika.looking import (
    Doubled,
    Finished,
    Progressed,
    SendAgain,
    after_check,
    after_look,
    after_no_list,
    is_partial,
)
from sinks.metrika.matching import Matching
from sinks.metrika.recognising import recognised, shows_comments
from sinks.metrika.sending import adopt, postpone, send
from sinks.metrika.tables import conversions, goals, transitions, uploads
from sinks.metrika.work import Work

# How long goals are told apart after Metrika has missed one in a mixed file; longer if it misses one again.
_SEPARATE: Final = timedelta(days=7)
_MATCHING: Final = Matching()


def follow(work: Work) -> None:
    """Settle what was left open and ask how far Metrika is with the rest."""
    begun = uploads.begun(work.connection, work.counter.id)
    now = work.now()
    # What only waits to be processed can wait longer where each request is needed for an upload.
    due = [upload for upload in begun if upload.is_due(now) and (work.plan.spare or upload.state is not State.ACCEPTED)]
    if not due or not work.may_ask:
        return
    listed = _listed(work, begun)
    if listed is None:
        return
    if not isinstance(listed, Listed):
        for upload in due:
            postpone(work, upload, after_no_list(upload, listed, now=work.now()), result="not_listed")
        return
    for upload in begun:
        if upload.state is State.ACCEPTED:
            _check(work, upload, listed)
    sought = [upload for upload in begun if upload.state is not State.ACCEPTED]
    nameless = _nameless(work, sought, listed)
    for upload in sought:
        if not _look(work, upload, listed, nameless):
            return


def _listed(work: Work, begun: Collection[Upload]) -> Listed | Obstacle | None:
    """Read the list: all of it where an upload is looked for, else until every accepted one is found.

    It ends with a page that brings nothing new, not with a short one: a server may give less than it is asked for, and
    what was not read is not absent, but what was read is there. ``None`` where no further request may be made.
    """
    missing = {upload.metrika_upload_id for upload in begun if upload.state is State.ACCEPTED}
    read_all = any(upload.state is not State.ACCEPTED for upload in begun)
    found: dict[str, Uploading] = {}
    offset = rows = unreadable = 0
    while True:
        with work.admission() as admission:
            if admission is None:
                return None
            page = admission.ask("list", _page_at(work, offset))
        if not isinstance(page, Listed):
            if not offset:
                return page
            # Behind the end of a list there may be nothing but a refusal.
            is_end = isinstance(page, Forbidden) and rows < PAGE_ROWS
            return Listed(
                uploadings=tuple(found.values()), unreadable=unreadable, ended_by="" if is_end else page.message
            )
        news = {uploading.id: uploading for uploading in page.uploadings if uploading.id not in found}
        found |= news
        rows = len(page.uploadings) + page.unreadable
        offset += rows
        unreadable += page.unreadable
        if not news or not (read_all or missing - found.keys()):
            return Listed(uploadings=tuple(found.values()), unreadable=unreadable)


def _page_at(work: Work, offset: int) -> Callable[[str], Listed | Obstacle]:
    return lambda token: work.tools.metrika.uploadings(work.counter.number, token, offset=offset)


def _nameless(work: Work, sought: Collection[Upload], listed: Listed) -> Mapping[UUID, Uploading | None]:
    if not sought or shows_comments(listed):
        return {}
    known = uploads.known(work.connection, [uploading.id for uploading in listed.uploadings])
    return recognised(sought, listed, known=known)


def _look(work: Work, upload: Upload, listed: Listed, nameless: Mapping[UUID, Uploading | None]) -> bool:
    """Settle one upload that was begun. Returns whether it makes sense to go on."""
    settle_seconds = work.tools.pace.settle_seconds
    decision = after_look(upload, listed, now=work.now(), settle_seconds=settle_seconds, nameless=nameless)
    match decision:
        case Adopt():
            is_named = decision.uploading.comment == upload.token
            note = "" if is_named else "Recognised by its size and time: Metrika's list shows no comments."
            adopt(work, upload, decision, result="adopted", note=note)
        case Doubled():
            ids = ", ".join(uploading.id for uploading in decision.uploadings)
            logger().error(
                "upload.doubled",
                counter=work.counter.number,
                upload=str(upload.id),
                metrika_upload_ids=ids,
                action="Metrika has this file more than once; compare its revenue and tell Metrika's support",
            )
            first = Adopt(uploading=decision.uploadings[0])
            adopt(work, upload, first, result="doubled", note=f"Metrika has this file more than once: {ids}.")
        case SendAgain():
            return work.may_ask and send(work, upload)
        case Postpone():
            transitions.postpone(work.connection, upload, decision, now=work.now())
        case _:
            assert_never(decision)
    return True


def _check(work: Work, upload: Upload, listed: Listed) -> None:
    now = work.now()
    decision = after_check(upload, listed, now=now, interval_seconds=work.plan.interval_seconds)
    match decision:
        case Finished():
            _finish(work, upload, decision)
        case Progressed():
            if upload.is_due(now) or decision.uploading.status != upload.metrika_status:
                transitions.progress(work.connection, upload, decision.uploading, now=now, until=decision.until)
        case Postpone():
            if upload.is_due(now):
                transitions.postpone(work.connection, upload, decision, now=now)
        case _:
            assert_never(decision)


def _finish(work: Work, upload: Upload, result: Finished) -> None:
    connection, now, counts = work.connection, work.now(), result.uploading
    shares = conversions.shares(connection, upload.id)
    targets = {target for _, target in shares}
    transitions.finish(connection, upload, result, now=now)
    missed = counts.goal_not_found_quantity or 0
    if len(targets) == 1:
        (target,) = targets
        goals.counted(connection, work.counter.id, target, not_found=missed, now=now)
        if missed:
            logger().warning("goal.not_found", counter=work.counter.number, goal=target, lines=missed)
    elif is_partial(counts):
        goals.separate(connection, work.counter.id, until=now + _SEPARATE)
        logger().warning("goals.separated", counter=work.counter.number, upload=str(upload.id), goals=len(targets))
    _MATCHING.count(shares, upload.id_type, counts)
    _report(work, upload, result)


def _report(work: Work, upload: Upload, result: Finished) -> None:
    UPLOADS.labels(result.state.value).inc()
    counts = result.uploading
    logger().info(
        f"upload.{result.state.value}",
        counter=work.counter.number,
        upload=str(upload.id),
        metrika_upload_id=upload.metrika_upload_id,
        rows=upload.row_count,
        line_quantity=counts.line_quantity,
        linked_quantity=counts.linked_quantity,
        goal_not_found_quantity=counts.goal_not_found_quantity,
        user_not_found_quantity=counts.user_not_found_quantity,
    )
