"""A prepared upload becomes Metrika's: commit the intent, request, record the answer."""

from __future__ import annotations

import time
from typing import assert_never

from runtime.logs import logger
from runtime.metrics import AGE, REJECTED, RETRIED, SENT, UPLOADS
from schemas.dead_letter import ErrorClass
from sinks.metrika.access import Admission
from sinks.metrika.answers import UploadAnswer
from sinks.metrika.conversions import IdType
from sinks.metrika.form import Form
from sinks.metrika.holding import hold
from sinks.metrika.ledger import Adopt, Poisonous, Postpone, Split, Upload, after_answer
from sinks.metrika.looking import next_check
from sinks.metrika.planning import day_of
from sinks.metrika.tables import goals, transitions, uploads
from sinks.metrika.work import STAGE, Work


def send_ready(work: Work) -> None:
    """Send what is prepared, parts of a refused file included, until it is done or a request makes no sense."""
    while work.may_ask:
        upload = uploads.next_ready(work.connection, work.counter.id, now=work.now())
        if upload is None or not send(work, upload):
            return


def send(work: Work, upload: Upload) -> bool:
    """Send one upload. Returns whether it makes sense to send the next one."""
    form = _form(work, upload)
    if form is None:
        return True
    with work.admission() as admission:
        begun = transitions.begin(work.connection, upload, now=work.now()) if admission is not None else None
        if admission is None or begun is None:
            return False
        started = time.monotonic()
        answer = _asked(work, begun, form, admission)
    return _answered(work, begun, answer, seconds=time.monotonic() - started)


def _asked(work: Work, upload: Upload, form: Form, admission: Admission) -> UploadAnswer:
    metrika, number = work.tools.metrika, work.counter.number
    if upload.id_type is IdType.CONTACT:
        return admission.ask("orders", lambda token: metrika.orders(number, token, form=form))
    return admission.ask("upload", lambda token: metrika.upload(number, token, form=form, comment=upload.token))


def _answered(work: Work, upload: Upload, answer: UploadAnswer, *, seconds: float) -> bool:
    decision = after_answer(upload, answer, now=work.now())
    match decision:
        case Adopt():
            adopt(work, upload, decision, result="accepted", seconds=seconds)
        case Split():
            _split(work, upload, decision)
        case Poisonous():
            _fail(work, upload, decision)
        case Postpone():
            # What was refused, or hangs, would be so again: other counters' requests go first.
            postpone(work, upload, decision, result=type(answer).__name__.lower())
            return False
        case _:
            assert_never(decision)
    return True


def adopt(work: Work, upload: Upload, decision: Adopt, *, result: str, seconds: float = 0.0, note: str = "") -> None:
    """Record that Metrika has the upload."""
    now, uploading = work.now(), decision.uploading
    if uploading.source_quantity not in (None, upload.row_count):
        note = f"{note} Metrika counted {uploading.source_quantity} lines, the file had {upload.row_count}.".strip()
        logger().error(
            "upload.miscounted", upload=str(upload.id), counted=uploading.source_quantity, rows=upload.row_count
        )
    check_at = next_check(upload, now=now, interval_seconds=work.plan.interval_seconds)
    ages = transitions.accept(work.connection, upload, uploading, now=now, check_at=check_at, note=note)
    for target in goals.accepted(work.connection, work.counter.id, upload.id):
        logger().info("goal.released", counter=work.counter.number, goal=target)
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


def _form(work: Work, upload: Upload) -> Form | None:
    """Return the file to send; ``None`` after releasing an upload whose file must not be sent any more."""
    if uploads.has_expired_rows(work.connection, upload, now=work.now()):
        _release(work, upload, ErrorClass.EXPIRED, "a row's deadline passed before the file could be sent")
        return None
    form = uploads.file_of(work.connection, upload)
    if form is None:
        _release(work, upload, ErrorClass.ROW_REFUSED, "its rows were changed after it was prepared")
    return form


def _release(work: Work, upload: Upload, error_class: ErrorClass, message: str) -> None:
    rows = transitions.release(work.connection, upload, error_class=error_class, message=message, now=work.now())
    logger().warning("upload.released", counter=work.counter.number, upload=str(upload.id), rows=rows, reason=message)


def _split(work: Work, upload: Upload, decision: Split) -> None:
    ids = (work.tools.new_id(), work.tools.new_id())
    counter_id = work.counter.id
    transitions.split(work.connection, upload, counter_id=counter_id, ids=ids, message=decision.message, now=work.now())
    UPLOADS.labels("rejected").inc()
    logger().warning(
        "upload.split",
        counter=work.counter.number,
        upload=str(upload.id),
        rows=upload.row_count,
        parts=[str(one) for one in ids],
        reason=decision.message,
    )


def _fail(work: Work, upload: Upload, decision: Poisonous) -> None:
    with work.connection.transaction():
        if not transitions.fail(work.connection, upload, message=decision.message, now=work.now()):
            return
        held = _hold_goal(work, upload, decision)
    UPLOADS.labels("rejected").inc()
    REJECTED.labels(STAGE, ErrorClass.METRIKA_REJECTED).inc()
    logger().warning(
        "upload.rejected",
        counter=work.counter.number,
        upload=str(upload.id),
        goal=upload.target,
        rows=1,
        held=held,
        reason=decision.message,
    )


def _hold_goal(work: Work, upload: Upload, decision: Poisonous) -> bool:
    """Count the refusal; hold the goal back where it is one of many."""
    if upload.target is None:  # prepared by a version that did not note it
        return False
    now, connection, counter_id = work.now(), work.connection, work.counter.id
    refusals = goals.refused(connection, counter_id, upload.target, error_type=decision.error_type, day=day_of(now))
    found = hold(
        in_a_row=refusals.refused_in_a_row,
        that_day=refusals.refused_that_day,
        retries=refusals.retries,
        message=decision.message,
        now=now,
    )
    if found is None:
        return False
    goals.hold(connection, counter_id, upload.target, reason=found.reason, retry_at=found.retry_at, now=now)
    rows = transitions.release_goal(connection, counter_id, upload.target, message=found.reason, now=now)
    logger().error("goal.held", counter=work.counter.number, goal=upload.target, rows=rows, reason=found.reason)
    return True
