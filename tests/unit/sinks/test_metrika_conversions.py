"""Which identifier, which second, which bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from sinks.metrika.conversions import Candidate, Goal, IdType, Line, csv_chunks, place

NOON = 1_481_718_166


def candidate(number: int = 1, **over: Any) -> Candidate:
    """A conversion of one visitor at noon."""
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "client_id": "133591247640966458",
        "yclid": None,
        "user_id": None,
        "purchase_id": None,
        "target": "GOAL1",
        "second": NOON,
        "upload_second": None,
        "price": Decimal("123.4500"),
        "currency": "RUB",
    }
    return Candidate(**{**values, **over})


def csv_file(id_type: IdType, lines: Iterable[Line]) -> bytes:
    """The whole file."""
    return b"".join(csv_chunks(id_type, lines))


def seconds_of(*candidates: Candidate, taken: dict[Goal, set[int]] | None = None, latest: int = NOON + 99) -> list[int]:
    """The seconds that a file's lines get, in the order of the ids."""
    placed = place(candidates, taken=taken or {}, latest=latest)
    return [row.line.second for row in sorted(placed, key=lambda row: row.id)]


def test_the_file_is_the_documented_sample_byte_for_byte() -> None:
    sample = (
        b"ClientId,Target,DateTime,Price,Currency\n"
        b"133591247640966458,GOAL1,1481718166,123.45,RUB\n"
        b"133591247640966458,GOAL2,1481718142,678.9,RUB\n"
        b"133591247640966458,GOAL3,1481718066,123.45,RUB\n"
        b"579124169844706072,GOAL3,1481718116,678.9,RUB\n"
        b"148059425477661429,GOAL2,1481718126,123.45,RUB\n"
        b"148059425477661429,GOAL3,1481714026,678.9,RUB\n"
    )
    rows = [
        ("133591247640966458", "GOAL1", 1481718166, "123.4500"),
        ("133591247640966458", "GOAL2", 1481718142, "678.9000"),  # the sample writes 678.90: the same number
        ("133591247640966458", "GOAL3", 1481718066, "123.4500"),
        ("579124169844706072", "GOAL3", 1481718116, "678.9000"),
        ("148059425477661429", "GOAL2", 1481718126, "123.4500"),
        ("148059425477661429", "GOAL3", 1481714026, "678.9000"),
    ]
    lines = [Line(visitor, target, second, Decimal(price), "RUB") for visitor, target, second, price in rows]
    assert csv_file(IdType.CLIENT_ID, lines) == sample


def test_each_kind_of_identifier_has_its_documented_column() -> None:
    heads = [csv_file(kind, ()).decode().split(",")[0] for kind in IdType if kind is not IdType.CONTACT]
    assert heads == ["ClientId", "Yclid", "UserId", "PurchaseId"]


def test_a_price_has_a_dot_and_no_exponent_whatever_its_size() -> None:
    prices = [Decimal("0"), Decimal("100.0000"), Decimal("12345678901234.5000"), Decimal("0.0001"), None]
    lines = [Line("1", "g", NOON, price, None) for price in prices]
    rows = list(csv.reader(io.StringIO(csv_file(IdType.CLIENT_ID, lines).decode())))[1:]
    assert [row[3] for row in rows] == ["0", "100", "12345678901234.5", "0.0001", ""]


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(_TEXTS, _TEXTS), max_size=5))
def test_pythons_csv_module_reads_any_text_back_as_it_was(texts: list[tuple[str, str]]) -> None:
    body = csv_file(IdType.USER_ID, (Line(*pair, NOON, None, None) for pair in texts))
    read = list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))
    assert [tuple(row[:2]) for row in read[1:]] == texts
    assert {len(row) for row in read} == {5}


def test_a_file_of_any_length_comes_in_small_pieces() -> None:
    lines = (Line("1", "goal", second, None, None) for second in range(10_500))
    pieces = list(csv_chunks(IdType.CLIENT_ID, lines))
    assert len(pieces) == 11
    assert max(map(len, pieces)) < 64 * 1024
    assert b"".join(pieces).count(b"\n") == 10_501


def test_the_first_identifier_in_the_order_of_precedence_is_sent() -> None:
    ids: dict[str, Any] = {"client_id": "1", "yclid": "2", "user_id": "3", "purchase_id": "4"}
    found = []
    for name in list(ids):
        found.append(candidate(**ids).identity())
        ids[name] = None  # from here on without it
    assert found == [
        (IdType.CLIENT_ID, "1"),
        (IdType.YCLID, "2"),
        (IdType.USER_ID, "3"),
        (IdType.PURCHASE_ID, "4"),
    ]


def test_two_conversions_of_a_visitor_and_goal_never_share_a_second() -> None:
    assert seconds_of(candidate(1), candidate(2), candidate(3)) == [NOON, NOON + 1, NOON + 2]


def test_other_visitors_and_other_goals_keep_their_own_second() -> None:
    assert seconds_of(candidate(1), candidate(2, client_id="9"), candidate(3, target="GOAL2")) == [NOON] * 3


def test_a_second_that_an_earlier_file_used_is_not_given_again() -> None:
    taken = {Goal("133591247640966458", "GOAL1"): {NOON, NOON + 1, NOON + 3}}
    assert seconds_of(candidate(1), candidate(2), taken=taken) == [NOON + 2, NOON + 4]


def test_a_conversion_keeps_the_second_of_the_file_that_was_given_up() -> None:
    taken = {Goal("133591247640966458", "GOAL1"): {NOON, NOON + 7}}
    assert seconds_of(candidate(1, upload_second=NOON + 7), candidate(2), taken=taken) == [NOON + 7, NOON + 1]


def test_no_conversion_is_moved_into_the_future() -> None:
    assert seconds_of(candidate(1), candidate(2), candidate(3), latest=NOON + 1) == [NOON, NOON + 1]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.sampled_from("gh")), max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_decides_nothing(events: list[tuple[int, str, str]], random: Any) -> None:
    rows = [
        candidate(number, second=NOON + late, client_id=visitor, target=goal)
        for number, (late, visitor, goal) in enumerate(events)
    ]
    shuffled = random.sample(rows, len(rows))
    placed, again = (place(order, taken={}, latest=NOON + 99) for order in (rows, shuffled))
    assert placed == again
    lines = [row.line for row in placed]
    assert len({(line.visitor, line.target, line.second) for line in lines}) == len(events)
