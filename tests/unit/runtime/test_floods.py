"""What is said again and again is said once a minute, and how often it was."""

from __future__ import annotations

import logging

from runtime.floods import Flood, LibraryFlood


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(clock: Clock, flood: LibraryFlood, *said: tuple[str, str, tuple[object, ...]]) -> list[str]:
    """Say each line, a tenth of a second apart; return what is written."""
    written = []
    for name, text, arguments in said:
        clock.now += 0.1
        record = logging.LogRecord(name, logging.WARNING, "file", 1, text, arguments, None)
        if flood.filter(record):
            written.append(record.getMessage())
    return written


def test_one_of_a_kind_is_let_through_a_minute_with_the_number_of_the_others() -> None:
    clock = Clock()
    flood = Flood(clock)
    assert flood.admitted("a") == 0
    assert [flood.admitted("a") for _ in range(5)] == [None] * 5
    assert flood.admitted("b") == 0
    clock.now = 61
    assert flood.admitted("a") == 5
    assert flood.admitted("a") is None


def test_an_outage_is_one_line_a_minute_of_each_library_whatever_it_says() -> None:
    clock = Clock()
    flood = LibraryFlood(Flood(clock))
    outage = [
        ("librdkafka", "FAIL [rdkafka#consumer-1] [thrd:GroupCoordinator]: Connect to %s failed", ("127.0.0.1:9092",)),
        ("librdkafka", "FAIL [rdkafka#producer-3] [thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected (after 7ms)", ()),
        ("librdkafka", "REQTMOUT [rdkafka#consumer-1] [thrd:a:1/1]: a:1/1: Timed out FetchRequest in flight", ()),
        ("aiokafka", "Unable connect to node with id %s: %s", (1, "refused")),
        ("aiokafka.consumer.group_coordinator", "Heartbeat send request failed: %s. Will retry.", ("gone",)),
        ("aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", (1, "gone")),
    ]
    assert len(lines(clock, flood, *(outage * 60))) == 2
    clock.now += 60
    (line,) = lines(clock, flood, outage[0])
    assert "127.0.0.1:9092 failed [said 179 times more" in line


def test_another_text_is_another_kind_and_its_numbers_are_not() -> None:
    clock = Clock()
    flood = LibraryFlood(Flood(clock))
    written = lines(
        clock,
        flood,
        ("aiokafka", "Not authorized to read from topic %s.", ("a",)),
        ("asyncio", "socket.send() raised exception.", ()),
        ("asyncio", "socket.send() raised exception.", ()),
        ("asyncio", "task 17 was destroyed", ()),
        ("asyncio", "task 18 was destroyed", ()),
    )
    assert written == [
        "Not authorized to read from topic a.",
        "socket.send() raised exception.",
        "task 17 was destroyed",
    ]


def test_memory_is_bounded_however_many_kinds_there_are() -> None:
    flood = Flood(Clock())
    for kind in range(10_000):
        flood.admitted(kind)
    assert len(flood._kinds) <= 500
