"""A run is acknowledged when everything that follows from it is written, and only then."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from schemas.records import Incoming
from streams.app import _finish
from streams.ledger import Run
from streams.worker import WorkerFailed
from tests.unit.streams.builders import event, raw_record


def fetched() -> Run:
    return Run([raw_record(event(), offset=offset) for offset in range(3)])


async def test_what_is_written_is_done_and_acknowledged() -> None:
    run = fetched()
    acknowledged: list[bool] = []
    written: Future[None] = Future()
    written.set_result(None)
    message = SimpleNamespace(value=run, ack=lambda: acknowledged.append(run.done))
    await _finish(message, lambda _: written, lambda error: pytest.fail(str(error)))
    assert acknowledged == [True]


async def test_whatever_fails_is_not_acknowledged_and_ends_the_process() -> None:
    """Also a mistake of our own: going on would lose the run, and Faust by itself would skip it."""
    run = fetched()
    failures: list[BaseException] = []
    failed: Future[None] = Future()
    failed.set_exception(ZeroDivisionError())
    message = SimpleNamespace(value=run, ack=lambda: pytest.fail("it is not done"))
    await _finish(message, lambda _: failed, failures.append)
    assert [type(error) for error in failures] == [ZeroDivisionError]
    assert (run.done, len(run.records)) == (False, 3)


def test_the_end_of_a_process_says_where_it_failed_and_quotes_no_event() -> None:
    secret = Incoming(topic="t", partition=0, offset=0, timestamp=0, key=b"u:personal", value=b"personal")
    try:
        raise ValueError(secret)
    except ValueError as error:
        said = str(WorkerFailed(error))
    assert "ValueError at" in said
    assert "test_app.py" in said
    assert "personal" not in said
