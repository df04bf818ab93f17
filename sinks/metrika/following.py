"""Uploads that Metrika may know, or has: all of a counter's are looked up in one reading of Metrika's list."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import assert_never

from runtime.logs import logger
from runtime.metrics import UPLOADS
from sinks.metrika.answers import Listed, Obstacle, Uploading
from sinks.metrika.client import PAGE_ROWS
from sinks.metrika.ledger import (
    Adopt,
    Doubled,
    Finished,
    Postpone,
    Progressed,
    SendAgain,
    State,
    Upload,
    after_check,
    after_look,
    after_no_list,
)
from sinks.metrika.sending import adopt, postpone, send
from sinks.metrika.tables import transitions, uploads
from sinks.metrika.work import Work


def follow(work: Work) -> None:
    """Settle what was left open and ask how far Metrika is with the rest."""
    begun = uploads.begun(work.connection, work.counter.id, now=work.now())
    if not begun or not work.may_ask:
        return
    listed = _listed(work, begun)
    if not isinstance(listed, list):
        for upload in begun:
            postpone(work, upload, after_no_list(upload, listed, now=work.now()), result="not_listed")
        return
    for upload in begun:
        if upload.state is State.ACCEPTED:
            _check(work, upload, listed)
        elif not _look(work, upload, listed):
            return


def _listed(work: Work, begun: Collection[Upload]) -> list[Uploading] | Obstacle:
    """Read the list: all of it where an upload is looked for, else until every accepted one is found."""
    missing = {upload.metrika_upload_id for upload in begun if upload.state is State.ACCEPTED}
    read_all = any(upload.state is not State.ACCEPTED for upload in begun)
    found: dict[str, Uploading] = {}
    offset = 0
    while True:
        page = work.ask(_page_at(work, offset))
        if not isinstance(page, Listed):
            return page
        news = {uploading.id: uploading for uploading in page.uploadings if uploading.id not in found}
        found |= news
        offset += len(page.uploadings)
        # A page without anything new ends it too, or a server that ignores the offset would be read for ever.
        if len(page.uploadings) < PAGE_ROWS or not news or not (read_all or missing - found.keys()):
            return list(found.values())


def _page_at(work: Work, offset: int) -> Callable[[str], Listed | Obstacle]:
    return lambda token: work.tools.metrika.uploadings(work.counter.number, token, offset=offset)


def _look(work: Work, upload: Upload, listed: list[Uploading]) -> bool:
    """Settle one upload that was begun. Returns whether it makes sense to go on."""
    decision = after_look(upload, listed, now=work.now(), settle_seconds=work.tools.pace.settle_seconds)
    match decision:
        case Adopt():
            adopt(work, upload, decision, result="adopted")
        case Doubled():
            ids = [uploading.id for uploading in decision.uploadings]
            logger().error(
                "upload.doubled",
                counter=work.counter.number,
                upload=str(upload.id),
                metrika_upload_ids=ids,
                action="Metrika has this file more than once; compare its revenue and tell Metrika's support",
            )
            first = Adopt(uploading=decision.uploadings[0])
            adopt(work, upload, first, result="doubled", note=f"Metrika has it as {', '.join(ids)}")
        case SendAgain():
            return work.may_ask and send(work, upload)
        case Postpone():
            transitions.postpone(work.connection, upload, decision, now=work.now())
        case _:
            assert_never(decision)
    return True


def _check(work: Work, upload: Upload, listed: list[Uploading]) -> None:
    now, interval = work.now(), work.tools.pace.interval_seconds
    decision = after_check(upload, listed, now=now, interval_seconds=interval)
    match decision:
        case Finished():
            transitions.finish(work.connection, upload, decision, now=now)
            _report(work, upload, decision)
        case Progressed():
            transitions.progress(work.connection, upload, decision.uploading, now=now, until=decision.until)
        case Postpone():
            transitions.postpone(work.connection, upload, decision, now=now)
        case _:
            assert_never(decision)


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
