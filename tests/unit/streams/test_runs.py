"""Faust's consumer with runs as messages, and the check that refuses another Faust."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP
from mode import CrashingSupervisor

from runtime.attention import Attention
from schemas.topics import JOIN_APP, RAW
from streams import runs
from streams.app import build_app
from streams.ledger import Run
from streams.runs import FaustChanged, RunConsumer, check_faust

TP0, TP1 = TP(RAW.name, 0), TP(RAW.name, 1)


def fetched(tp: TP, *offsets: int) -> list[Any]:
    """Records as aiokafka returns them."""
    return [
        SimpleNamespace(
            topic=tp.topic, partition=tp.partition, offset=offset, timestamp=1, key=b"k", value=b"v", headers=()
        )
        for offset in offsets
    ]


@contextmanager
def fetching(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ready: set[int]
) -> Iterator[tuple[RunConsumer, dict[TP, list[Any]]]]:
    """A consumer whose fetches return what the test puts into the dictionary."""
    waiting: dict[TP, list[Any]] = {}

    async def fetch(_: Consumer, active_partitions: set[TP], timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109
        return {tp: waiting.pop(tp) for tp in list(waiting) if tp in active_partitions}

    monkeypatch.setattr(Consumer, "_getmany", fetch)
    app = app_in(tmp_path, ready)
    consumer = app.consumer
    assert isinstance(consumer, RunConsumer)
    monkeypatch.setattr(consumer, "_ready", lambda: frozenset(ready))
    try:
        yield consumer, waiting
    finally:
        consumer._thread.thread_loop.close()


def app_in(tmp_path: Path, ready: set[int]) -> faust.App:
    return build_app(
        bootstrap_servers="one:9092, two:9092",
        folder=tmp_path,
        ready=lambda: frozenset(ready),
        alive=lambda: None,
        attention=Attention(),
        on_assigned=lambda _: None,
        on_revoked=lambda: None,
        write=lambda _: pytest.fail("nothing is written"),
        failed=lambda error: pytest.fail(str(error)),
    )


async def test_a_fetched_run_is_one_message_that_stands_at_its_last_offset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with fetching(monkeypatch, tmp_path, {0, 1}) as (consumer, waiting):
        waiting.update({TP0: fetched(TP0, 5, 6, 9), TP1: fetched(TP1, 1)})
        messages = await consumer._getmany({TP0, TP1}, 0.01)
        (message,) = messages[TP0]
        assert (message.offset, [record.offset for record in message.value.records]) == (9, [5, 6, 9])
        assert [len(run.records) for run in consumer.unfinished()] == [3, 1]


async def test_the_committed_offset_never_jumps_over_a_run_that_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with fetching(monkeypatch, tmp_path, {0}) as (consumer, waiting):
        handed_out: list[Run] = []
        for offsets in ((0, 1), (2,), (3, 4)):
            waiting[TP0] = fetched(TP0, *offsets)
            handed_out.append((await consumer._getmany({TP0}, 0.01))[TP0][0].value)
        first, second, third = handed_out
        third.done = first.done = True
        consumer._acked[TP0] = [
            1,
            2,
            4,
        ]  # what Faust believes, e.g. after it threw away a message of another generation
        assert consumer._new_offset(TP0) == 2
        consumer._ledgers[TP0].committed(2)
        assert consumer._new_offset(TP0) is None
        second.done = True
        assert consumer._new_offset(TP0) == 5


async def test_the_inside_of_a_run_is_no_gap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with fetching(monkeypatch, tmp_path, {0}) as (consumer, waiting):
        waiting[TP0] = fetched(TP0, 0, 1)
        await consumer._getmany({TP0}, 0.01)
        await consumer._add_gap(TP0, 1, 500)
        assert consumer._new_offset(TP0) is None


async def test_a_partition_whose_state_is_behind_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready: set[int] = set()
    with fetching(monkeypatch, tmp_path, ready) as (consumer, waiting):
        waiting.update({TP0: fetched(TP0, 0), TP1: fetched(TP1, 0)})
        assert await consumer._getmany({TP0, TP1}, 0.01) == {}
        ready.add(1)
        assert set(await consumer._getmany({TP0, TP1}, 0.01)) == {TP1}


async def test_becoming_ready_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with fetching(monkeypatch, tmp_path, set()) as (consumer, _):
        asking = asyncio.create_task(consumer._getmany({TP0}, 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        consumer.nudge()
        assert await asyncio.wait_for(asking, 5) == {}


async def test_no_more_is_fetched_than_can_be_in_flight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runs, "_BYTES_IN_FLIGHT", 3000)
    with fetching(monkeypatch, tmp_path, {0}) as (consumer, waiting):
        waiting[TP0] = fetched(TP0, 0, 1, 2)
        run = (await consumer._getmany({TP0}, 0.01))[TP0][0].value
        waiting[TP0] = fetched(TP0, 3)
        assert await consumer._getmany({TP0}, 0.01) == {}
        run.done = True
        assert TP0 in await consumer._getmany({TP0}, 0.01)


async def test_it_is_alive_as_long_as_commits_follow_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fetching alone proves nothing: what is written but cannot be committed would be done again and again."""
    commits_succeed = False

    async def commit(_: Consumer, offsets: dict[TP, int]) -> bool:
        return commits_succeed

    monkeypatch.setattr(Consumer, "_commit", commit)
    with fetching(monkeypatch, tmp_path, {0}) as (consumer, waiting):
        beats: list[float] = []
        monkeypatch.setattr(consumer, "_alive", lambda: beats.append(1))
        waiting[TP0] = fetched(TP0, 0, 1)
        run = (await consumer._getmany({TP0}, 0.01))[TP0][0].value
        assert len(beats) == 1
        run.finish()
        run.fetched_at -= 61
        await consumer._commit({TP0: 2})
        await consumer._getmany({TP0}, 0.01)
        assert len(beats) == 1, "it is written, but Kafka does not know"
        commits_succeed = True
        await consumer._commit({TP0: 2})
        await consumer._getmany({TP0}, 0.01)
        assert len(beats) == 2


async def test_the_app_has_no_tables_and_declares_no_topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "kafka://elsewhere")
    monkeypatch.setenv("TOPIC_ALLOW_DECLARE", "1")
    monkeypatch.setenv("STREAM_WAIT_EMPTY", "0")
    app = app_in(tmp_path, set())
    assert app.conf.id == JOIN_APP
    assert [str(url) for url in app.conf.broker] == ["kafka://one:9092", "kafka://two:9092"]
    assert not app.conf.topic_allow_declare
    assert app.conf.topic_disable_leader
    assert app.conf.stream_wait_empty
    assert not app.conf.web_enabled
    assert str(app.conf.agent_supervisor) == str(CrashingSupervisor)
    assert not list(app.tables)


def test_the_installed_faust_is_the_one_the_overrides_were_made_for() -> None:
    check_faust()


def test_another_version_is_refused_with_the_remedy() -> None:
    with pytest.raises(FaustChanged, match=r"0\.16\.0 is installed.*pip install.*churn test"):
        check_faust("0.16.0")


class _Changed:
    def renamed(self, other: int) -> None: ...


@pytest.mark.parametrize(("name", "problem"), [("gone", "gone is gone"), ("renamed", "takes self, other")])
def test_changed_internals_are_refused(name: str, problem: str) -> None:
    with pytest.raises(FaustChanged, match=problem):
        check_faust(overridden=[(_Changed, name, ("self", "tp"))])
