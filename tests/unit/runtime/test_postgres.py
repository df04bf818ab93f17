"""How long an answer of Postgres is waited for."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from runtime.postgres import Answers, NoAnswer

NOTHING, SOMETHING = 0, 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answers(clock: Clock) -> Answers:
    return Answers(lambda: 70, clock)


def exchange(*wanted: str) -> Generator[str, int, str]:
    """As psycopg's: says what it waits for until that has arrived, however often nothing has."""
    for each in wanted:
        while (yield each) == NOTHING:
            pass
    return "answer"


def test_the_answer_is_what_arrives_however_long_it_takes_within_the_limit(clock: Clock, answers: Answers) -> None:
    awaited = answers.awaited(exchange("write", "read"), lambda: pytest.fail("given up"))
    assert next(awaited) == "write"
    assert awaited.send(SOMETHING) == "read"
    clock.now += 69
    assert awaited.send(NOTHING) == "read"
    with pytest.raises(StopIteration) as end:
        awaited.send(SOMETHING)
    assert end.value.value == "answer"


def test_an_answer_that_is_owed_for_a_while_is_an_obstacle_until_it_comes(clock: Clock, answers: Answers) -> None:
    assert answers.obstacles() == {}
    awaited = answers.awaited(exchange("read"), lambda: None)
    next(awaited)
    clock.now += 5
    assert answers.obstacles() == {}
    clock.now += 2
    assert answers.obstacles() == {"postgres": "no answer for 7 s"}
    with pytest.raises(StopIteration):
        awaited.send(SOMETHING)
    assert answers.obstacles() == {}


def test_after_the_limit_the_connection_is_given_up(clock: Clock, answers: Answers) -> None:
    given_up: list[bool] = []
    awaited = answers.awaited(exchange("read"), lambda: given_up.append(True))
    next(awaited)
    clock.now += 71
    with pytest.raises(NoAnswer):
        awaited.send(NOTHING)
    assert given_up == [True]
    assert answers.obstacles() == {}


def test_an_error_of_the_exchange_ends_the_wait(answers: Answers, clock: Clock) -> None:
    def broken() -> Generator[str, int, str]:
        yield "read"
        raise OSError("reset")

    awaited = answers.awaited(broken(), lambda: None)
    next(awaited)
    with pytest.raises(OSError, match="reset"):
        awaited.send(SOMETHING)
    clock.now += 10
    assert answers.obstacles() == {}
