"""What waiting loops and libraries say over and over is a line a minute, and every line names its process."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import stamina
import structlog

from runtime import logs
from runtime.floods import Flood


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process writes to standard error once its logs are configured."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logs, "_waits", Flood())
    logs.configure("test", json_lines=True)
    yield stream
    root.handlers[:], root.level = handlers, level
    stamina.instrumentation.set_on_retry_hooks(hooks)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_loop_that_waits_says_so_once_a_minute_for_each_dependency(written: io.StringIO) -> None:
    for _ in range(500):
        logs.seldom("dependency.unavailable", dependency="kafka", error="no answer")
        logs.seldom("dependency.unavailable", dependency="postgres", error="no answer")
    assert [line["dependency"] for line in lines(written)] == ["kafka", "postgres"]


def test_a_library_is_held_to_the_same(written: io.StringIO) -> None:
    for attempt in range(500):
        logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", attempt, "refused")
        logging.getLogger("librdkafka").error("FAIL [rdkafka#producer-%d]: Connect failed", attempt)
    assert len(lines(written)) == 2


def test_retries_of_a_call_are_a_wait_like_any_other(written: io.StringIO) -> None:
    attempts = 0

    @stamina.retry(on=ConnectionError, attempts=5, wait_initial=0.0001, wait_max=0.0001)
    def call() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 5:
            raise ConnectionError("refused")

    call()
    assert [line["event"] for line in lines(written)] == ["call.retried"]


def test_a_line_from_a_thread_names_the_process(written: io.StringIO) -> None:
    thread = threading.Thread(target=lambda: logs.logger().info("thread.spoke"))
    thread.start()
    thread.join()
    assert lines(written)[0]["process"] == "test"
