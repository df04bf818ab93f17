"""How much one sender may take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.limits import Places, Rate, Rates


def test_a_burst_passes_and_then_each_waits_for_its_turn() -> None:
    rate = Rate(10)
    waits = [round(rate.wait_seconds(1000.0, at_most=1.0), 6) for _ in range(53)]
    assert waits[:50] == [0.0] * 50
    assert waits[50:] == [0.1, 0.2, 0.3]
    assert rate.wait_seconds(1010.0, at_most=0.0) == 0.0


@given(st.floats(1, 1000), st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_what_is_let_through_is_never_more_than_the_burst_and_the_rate(rate: float, steps: list[float]) -> None:
    limited, now, passed = Rate(rate), 50.0, 0
    for step in steps:
        now += step
        passed += limited.wait_seconds(now, at_most=0.0) == 0.0
    assert passed <= 5 * rate + (now - 50.0) * rate + 1


def test_a_refused_request_does_not_delay_the_next_one() -> None:
    rate = Rate(1)
    for _ in range(5):
        assert rate.wait_seconds(0.0, at_most=0.0) == 0.0
    waits = {rate.wait_seconds(0.0, at_most=0.0) for _ in range(100)}
    assert waits == {1.0}


def test_each_sender_has_a_rate_of_its_own_that_can_change() -> None:
    rates = Rates(lambda: 0.0)
    assert [rates.wait_seconds("a", 1, at_most=0) for _ in range(6)][-1] == 1.0
    assert rates.wait_seconds("b", 1, at_most=0) == 0.0
    assert rates.wait_seconds("a", 2, at_most=0) == 0.0


def test_what_has_passed_can_be_counted_as_more_and_delays_who_comes_next() -> None:
    rates = Rates(lambda: 0.0)
    assert rates.wait_seconds("a", 10, at_most=0) == 0.0
    rates.charge("a", 10, 58)
    assert round(rates.wait_seconds("a", 10, at_most=0), 6) == 1.0
    assert rates.wait_seconds("b", 10, at_most=0) == 0.0


def test_senders_are_forgotten_when_they_would_start_anew_and_beyond_that_share_one_rate() -> None:
    now = 0.0
    rates = Rates(lambda: now, most=10)
    for name in range(1000):
        assert rates.wait_seconds(str(name), 1, at_most=0) == (0.0 if name < 15 else 1.0)
    now = 10.0
    for name in range(10):
        assert rates.wait_seconds(f"later {name}", 1, at_most=0) == 0.0
    assert len(rates._rates) <= 11


def test_a_flood_leaves_places_for_the_others() -> None:
    places = Places(100)
    flood = sum(places.enter("flood") for _ in range(1000))
    assert flood == 50
    assert all(places.enter(f"quiet {number}") for number in range(25))
    for _ in range(flood):
        places.leave("flood")
    assert places.enter("flood")


def test_beyond_the_last_place_nobody_enters_and_every_place_comes_back() -> None:
    places = Places(4)
    assert [places.enter(name) for name in ("a", "b", "c", "d", "e")] == [True, True, True, True, False]
    places.leave("a")
    assert places.enter("e")
