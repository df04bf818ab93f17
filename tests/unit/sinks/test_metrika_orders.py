"""What a file of CRM orders says, and what its answers mean."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.orders.order_file import read_orders
from sinks.metrika.answers import Accepted, Forbidden, Refused, Unclear, order_answer
from sinks.metrika.conversions import IdType
from sinks.metrika.files import Fineness, Key, fineness
from sinks.metrika.ledger import Adopt, Postpone, Split, State, after_answer
from sinks.metrika.orders import Order, Part, csv_chunks
from tests.unit.sinks.metrika_material import NOON, seconds_after, upload

EMAIL, PHONE = "3c56ff8fef0f6c65b36b2d25720fe276", "f09f2c3d48f31e2a802944ade2e5aec5"
AT = datetime(2026, 3, 1, 15, 30, 5)  # in the counter's time zone
ANSWER = {"uploading_id": "a-7", "datetime": "2026-03-01T12:31:00Z", "api_validation_status": "PASSED"}


def part(**over: Any) -> Part:
    """A sale of 1500 roubles to somebody with a phone."""
    values = {"at": AT, "email_md5": None, "phone_md5": PHONE, "target": "sale", "price": Decimal("1500.5000")}
    return Part(**{**values, "currency": None, **over})


def written(*orders: Order) -> list[dict[str, str]]:
    """The file as a parser that is not ours reads it."""
    return list(csv.DictReader(io.StringIO(b"".join(csv_chunks(orders)).decode())))


def answer(**over: Any) -> bytes:
    """What Metrika answers."""
    return json.dumps({"uploading": {**ANSWER, "elements_count": 2, **over}}).encode()


def test_the_file_byte_for_byte() -> None:
    both = part(email_md5=EMAIL, currency="USD", price=Decimal("0.5"))
    assert b"".join(csv_chunks([Order("deal 7", [part()]), Order('a "b", c', [both])])) == (
        b"id,create_date_time,emails_md5,phones_md5,order_status,revenue,currency,goals\n"
        b"deal 7,2026-03-01 15:30:05,,f09f2c3d48f31e2a802944ade2e5aec5,PAID,1500.5,,sale:1500.5\n"
        b'"a ""b"", c",2026-03-01 15:30:05,3c56ff8fef0f6c65b36b2d25720fe276,f09f2c3d48f31e2a802944ade2e5aec5,'
        b"PAID,0.5,USD,sale:0.5\n"
    )


def test_a_later_conversion_of_an_order_says_again_what_the_earlier_one_has_said() -> None:
    lead = part(target="lead", price=Decimal(0), email_md5=EMAIL, phone_md5=None)
    shipped = part(target="shipped", price=Decimal(0), at=AT + timedelta(days=2))
    (row,) = written(Order("7", [lead, part(at=AT + timedelta(days=1)), shipped]))
    assert row["create_date_time"] == "2026-03-01 15:30:05"
    assert (row["emails_md5"], row["phones_md5"]) == (EMAIL, PHONE)
    assert row["goals"] == "lead:0,sale:1500.5,shipped:0"
    assert row["revenue"] == "1500.5"


def test_an_amount_in_another_currency_is_not_passed_off_as_the_orders() -> None:
    dollars = part(target="deposit", price=Decimal(20), currency="USD")
    (row,) = written(Order("7", [dollars, part(currency="RUB")]))
    assert (row["goals"], row["revenue"], row["currency"]) == ("sale:1500.5", "1500.5", "RUB")


def test_a_goal_reached_twice_is_named_once_with_its_last_amount() -> None:
    (row,) = written(Order("7", [part(), part(price=Decimal(2000)), part(price=None)]))
    assert row["goals"] == "sale:2000"


_parts = st.builds(
    Part,
    st.datetimes(datetime(2001, 1, 1), datetime(2050, 1, 1)).map(lambda at: at.replace(microsecond=0)),
    st.none() | st.just(EMAIL),
    st.just(PHONE),
    st.sampled_from(["lead", "sale", "Цель 1"]),
    st.none() | st.decimals(0, 10**14 - 1, places=4),
    st.none() | st.sampled_from(["RUB", "USD"]),
)
_ids = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@given(st.dictionaries(_ids, st.lists(_parts, min_size=1, max_size=4), min_size=1, max_size=5))
def test_every_file_is_one_that_the_documentation_allows(orders: dict[str, list[Part]]) -> None:
    file = b"".join(csv_chunks(Order(name, parts) for name, parts in orders.items()))
    found = read_orders(io.BytesIO(file), delimiter=",", configuration=Configuration())
    assert isinstance(found, list), found
    assert [order.id for order in found] == list(orders)


def test_a_valid_file_is_accepted_under_its_id() -> None:
    found = order_answer(200, answer())
    assert isinstance(found, Accepted)
    assert (found.uploading.id, found.uploading.status, found.uploading.source_quantity) == ("a-7", "PASSED", 2)
    assert isinstance(after_answer(upload(id_type=IdType.CONTACT), found, now=NOON), Adopt)


def test_failed_with_status_200_is_a_refused_file() -> None:
    found = order_answer(200, answer(api_validation_status="FAILED"))
    assert isinstance(found, Refused)
    assert isinstance(after_answer(upload(id_type=IdType.CONTACT, row_count=2), found, now=NOON), Split)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"uploading": 1}', answer(uploading_id=""), answer(uploading_id=None)])
def test_a_200_that_says_neither_leaves_it_open(body: bytes) -> None:
    assert isinstance(order_answer(200, body), Unclear)


def test_errors_are_those_of_the_rest_of_the_api() -> None:
    def of(error_type: str) -> bytes:
        return json.dumps({"errors": [{"error_type": error_type, "message": ""}]}).encode()

    assert isinstance(order_answer(400, of("invalid_uploading")), Refused)
    assert isinstance(order_answer(400, of("missing_parameter")), Forbidden)
    assert isinstance(order_answer(504, of("timeout")), Unclear)


def test_orders_whose_answer_was_lost_are_sent_again_ever_more_rarely() -> None:
    lost = Unclear(message="")
    waits = []
    for seconds in (0, 100, 10_000):
        decision = after_answer(upload(id_type=IdType.CONTACT), lost, now=seconds_after(seconds))
        assert isinstance(decision, Postpone)
        assert decision.state is State.PREPARED
        waits.append((decision.until - seconds_after(seconds)).total_seconds())
    assert waits == [1, 50, 900]


def test_an_answer_that_names_a_wait_is_obeyed() -> None:
    decision = after_answer(
        upload(id_type=IdType.CONTACT), Unclear(message="", retry_after_seconds=60), now=seconds_after(0)
    )
    assert isinstance(decision, Postpone)
    assert decision.until == seconds_after(60)


def test_orders_of_all_goals_share_a_file() -> None:
    groups = [(IdType.CONTACT, goal, source) for goal in ("sale", "call") for source in ("tilda", "amocrm")]
    assert {Fineness.GOAL_AND_SOURCE.key(*group) for group in groups} == {Key(IdType.CONTACT, None, None)}
    assert fineness(groups, files=1, separate_goals=False) is Fineness.GOAL_AND_SOURCE
