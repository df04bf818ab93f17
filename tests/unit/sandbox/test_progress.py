"""Progress where there is no terminal: few lines, each once."""

from __future__ import annotations

from sandbox.progress import Tenths, meter


def test_each_tenth_is_said_once() -> None:
    said: list[str] = []
    advance = Tenths("kafka", 40_000_000, said.append)
    for _ in range(400):
        advance(100_000)
    assert len(said) == 10
    assert said[0] == "kafka: 10 % (4 of 40 MB)"
    assert said[-1] == "kafka: 100 % (40 of 40 MB)"


def test_bytes_that_are_lost_again_are_not_said_twice() -> None:
    said: list[str] = []
    advance = Tenths("kafka", 10, said.append)
    for count in (5, -5, 5):
        advance(count)
    assert len(said) == 1


def test_without_a_terminal_the_meter_writes_lines() -> None:
    said: list[str] = []
    with meter("kafka", 10, said.append) as advance:
        advance(10)
    assert said == ["kafka: 100 % (0 of 0 MB)"]
