"""Stored conversions become an upload, and the upload becomes Metrika's: prepare, commit, request, record."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final, assert_never

from runtime.logs import logger
from runtime.metrics import AGE, REJECTED, RETRIED, SENT, UPLOADS
from schemas.dead_letter import ErrorClass
from sinks.metrika.answers import UploadAnswer
from sinks.metrika.conversions import place
from sinks.metrika.ledger import Adopt, Poisonous, Postpone, Split, State, Upload, after_answer
from sinks.metrika.tables import conversions, transitions, uploads
from sinks.metrika.work import Work

STAGE: Final = "metrika"


def fail_hopeless(work: Work) -> None:
    """Fail the conversions that no request can help, before one is spent on them."""
    for error_class, count in conversions.fail_hopeless(work.connection, work.counter.id, now=work.now()).items():
        REJECTED.labels(STAGE, error_class).inc(count)
        logger().warning("conversions.failed", counter=work.counter.number, rows=count, error_class=error_class)


def claim(work: Work) -> None:
    """Prepare an upload for each kind of identifier among the stored conversions; more while files come out full."""
    limit = work.tools.pace.upload_rows
    while _claim_once(work, limit) == limit and not work.tools.stop.requested:
        pass


def _claim_once(work: Work, limit: int) -> int:
    moment = work.tools.moment()
    with work.connection.transaction():
        found = conversions.candidates(work.connection, work.counter.id, moment=moment, limit=limit)
        if not found:
            return 0
        taken = conversions.taken_seconds(work.connection, work.counter.number, found)
        files = place(found, taken=taken, latest=int(moment.latest.timestamp()))
        for id_type, rows in files.items():
            uploads.create(
                work.connection,
                upload_id=work.tools.new_id(),
                counter_id=work.counter.id,
                id_type=id_type,
                rows=rows,
                now=moment.now,
            )
    return sum(map(len, files.values()))


def send_fresh(work: Work) -> None:
    """Send what is prepared, halves of a refused file included, until it is done or a request makes no sense."""
    while pending := uploads.fresh(work.connection, work.counter.id):
        for upload in pending:
            if not work.may_ask or not send(work, upload):
                return


def send(work: Work, upload: Upload) -> bool:
    """Send one upload. Returns whether it makes sense to send the next one."""
    body = _file(work, upload)
    if body is None:
        return True
    begun = transitions.begin(work.connection, upload, now=work.now())
    if begun is None:
        return True
    started = time.monotonic()
    number, tools = work.counter.number, work.tools
    answer: UploadAnswer = work.ask(lambda token: tools.metrika.upload(number, token, body=body, comment=upload.token))
    seconds = time.monotonic() - started
    decision = after_answer(begun, answer, now=work.now())
    match decision:
        case Adopt():
            adopt(work, begun, decision, result="accepted", seconds=seconds)
        case Split():
            _split(work, begun, decision)
        case Poisonous():
            _fail(work, begun, decision)
        case Postpone():
            postpone(work, begun, decision, result=type(answer).__name__.lower())
            return decision.state is State.UNKNOWN
        case _:
            assert_never(decision)
    return True


def adopt(work: Work, upload: Upload, decision: Adopt, *, result: str, seconds: float = 0.0, note: str = "") -> None:
    """Record that Metrika has the upload."""
    now, uploading = work.now(), decision.uploading
    check_at = now + timedelta(seconds=work.tools.pace.interval_seconds)
    ages = transitions.accept(work.connection, upload, uploading, now=now, check_at=check_at, note=note)
    for age in ages:
        AGE.labels(STAGE).observe(age)
    SENT.labels(STAGE, "metrika").inc(upload.row_count)
    UPLOADS.labels(result).inc()
    logger().info(
        f"upload.{result}",
        counter=work.counter.number,
        upload=str(upload.id),
        metrika_upload_id=uploading.id,
        id_type=upload.id_type.value,
        rows=upload.row_count,
        source_quantity=uploading.source_quantity,
        attempts=upload.attempts,
        seconds=round(seconds, 3),
        oldest_seconds=round(max(ages, default=0.0), 3),
    )


def postpone(work: Work, upload: Upload, decision: Postpone, *, result: str) -> None:
    """Record that the upload waits, and why."""
    transitions.postpone(work.connection, upload, decision, now=work.now())
    UPLOADS.labels(result).inc()
    RETRIED.labels(STAGE, "metrika").inc()
    logger().warning(
        "upload.postponed",
        counter=work.counter.number,
        upload=str(upload.id),
        rows=upload.row_count,
        state=decision.state.value,
        until=decision.until.isoformat(timespec="seconds"),
        attempts=upload.attempts,
        reason=decision.message,
    )


def _file(work: Work, upload: Upload) -> bytes | None:
    """Return the file to send; ``None`` after releasing an upload whose file must not be sent any more."""
    if uploads.has_expired_rows(work.connection, upload, now=work.now()):
        _release(work, upload, ErrorClass.EXPIRED, "a row's deadline passed before the file could be sent")
        return None
    body = uploads.file_of(work.connection, upload)
    if body is None:
        _release(work, upload, ErrorClass.ROW_REFUSED, "its rows were changed after it was prepared")
    return body


def _release(work: Work, upload: Upload, error_class: ErrorClass, message: str) -> None:
    rows = transitions.release(work.connection, upload, error_class=error_class, message=message, now=work.now())
    logger().warning("upload.released", counter=work.counter.number, upload=str(upload.id), rows=rows, reason=message)


def _split(work: Work, upload: Upload, decision: Split) -> None:
    halves = (work.tools.new_id(), work.tools.new_id())
    transitions.split(
        work.connection,
        upload,
        counter_id=work.counter.id,
        halves=halves,
        message=decision.message,
        now=work.now(),
    )
    UPLOADS.labels("rejected").inc()
    logger().warning(
        "upload.split",
        counter=work.counter.number,
        upload=str(upload.id),
        rows=upload.row_count,
        halves=[str(half) for half in halves],
        reason=decision.message,
    )


def _fail(work: Work, upload: Upload, decision: Poisonous) -> None:
    transitions.fail(work.connection, upload, message=decision.message, now=work.now())
    UPLOADS.labels("rejected").inc()
    REJECTED.labels(STAGE, ErrorClass.METRIKA_REJECTED).inc()
    logger().warning(
        "upload.rejected", counter=work.counter.number, upload=str(upload.id), rows=1, reason=decision.message
    )
