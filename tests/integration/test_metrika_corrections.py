"""An amount that changed overwrites the first one at Metrika: once, after it, and never as a conversion of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandbox.stack import Addresses
from schemas.events import Conversion
from sinks.postgres.writer import Writer
from tests.integration.metrika_world import World, eventually, world
from tests.sink_material import Registered, conversion, opened, placed

DAY_MS = 86_400_000


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        made.query("UPDATE offline_webhooks SET on_change = 'correct' RETURNING id")
        yield made


def sale(here: World, **over: Any) -> Conversion:
    """A sale of 3 000 roubles, a minute ago."""
    registered = Registered(webhook_id=str(here.value("SELECT id FROM offline_webhooks")), counter_id=str(here.counter))
    now = int(here.value("SELECT extract(epoch FROM now()) * 1000"))
    values = {
        "client_id": "1666707227246044402",
        "price": Decimal(3000),
        "currency": "RUB",
        "price_sent": True,
        "received_at": now,
        "occurred_at": now - 60_000,
        "deadline_at": now + DAY_MS,
    }
    return conversion(registered, **{**values, **over})


def again(of: Conversion, price: int, number: int) -> Conversion:
    """The same order with another amount, sent later."""
    return replace(of, price=Decimal(price), raw_offset=100 + number, received_at=of.received_at + number)


def write(here: World, *conversions: Conversion) -> None:
    """Store them as the Postgres sink does, each in a batch of its own and once more."""
    with opened(here.database_url) as connection:
        writer = Writer(connection)
        for one in placed(*conversions):
            writer.write([one])
            writer.write([one])


def figures(here: World) -> tuple[int, int, int]:
    """Distinct, overwritten and doubled rows."""
    summary = here.control("summary")
    return summary["distinct_rows"], summary["overwritten_rows"], summary["doubled_rows"]


@pytest.mark.parametrize(
    "ids",
    [
        {},
        {"client_id": None, "yclid": "16064509312686620671"},
        {"client_id": None, "user_id": "me"},
        {"client_id": None, "purchase_id": "p-1"},
    ],
    ids=["ClientId", "Yclid", "UserId", "PurchaseId"],
)
@pytest.mark.parametrize("price", [5000, 0])
def test_a_correction_overwrites_what_was_processed_and_nothing_else(
    here: World, ids: dict[str, Any], price: int
) -> None:
    first = sale(here, **ids)
    write(here, first)
    with here.sink():
        here.until_settled()
        write(here, again(first, price, 1), first, again(first, price, 2))
        assert here.until_settled() == {"processed": 2}
    assert figures(here) == (1, 1, 0)
    (held,) = here.control("conversions")["conversions"]
    assert (held["Price"], held["deliveries"]) == (str(price), 2)


def test_corrections_follow_the_first_amount_in_the_order_in_which_they_were_received(here: World) -> None:
    """All are stored before anything is uploaded, the second of them first."""
    first = sale(here)
    write(here, first, again(first, 5000, 1), again(first, 7000, 3), again(first, 6000, 2))
    with here.sink():
        assert here.until_settled() == {"processed": 3}
    assert figures(here) == (1, 2, 0)
    prices = [Decimal(row["Price"]) for row in here.control("accepted")["rows"]]
    assert prices == [3000, 5000, 7000], "the one that was received between comes too late to count"


def test_a_correction_keeps_the_second_that_its_conversion_was_given(here: World) -> None:
    """Two sales of a visitor in one second: the DateTime of one was moved on, and that of its correction has to be."""
    one = sale(here)
    other = replace(one, event_id="00000000-0000-4000-8000-00000000000f")
    write(here, one, other)
    with here.sink():
        here.until_settled()
        write(here, again(one, 1, 1), again(other, 2, 2))
        assert here.until_settled() == {"processed": 4}
    assert figures(here) == (2, 2, 0)
    assert {Decimal(held["Price"]) for held in here.control("conversions")["conversions"]} == {1, 2}


def test_a_correction_of_what_metrika_refused_is_not_sent_in_its_place(here: World) -> None:
    first = sale(here)
    write(here, first)
    here.script("reject", times=None)
    with here.sink():
        eventually(here.stages, lambda stages: stages["failed"] == 1)
        here.heal()
        write(here, again(first, 5000, 1), replace(first, event_id="00000000-0000-4000-8000-00000000000f"))
        eventually(here.stages, lambda stages: stages["processed"] == 1)
        assert here.stages() == {"failed": 1, "processed": 1, "stored": 1}
    assert figures(here) == (1, 0, 0)


@pytest.mark.parametrize("fault", ["cut_after_accept", "504_after_accept", "cut_before"])
def test_a_correction_whose_answer_was_lost_is_not_sent_twice(here: World, fault: str) -> None:
    first = sale(here)
    write(here, first)
    with here.sink():
        here.until_settled()
        here.script(fault)
        write(here, again(first, 5000, 1))
        assert here.until_settled() == {"processed": 2}
    assert figures(here) == (1, 1, 0)


def test_an_amount_below_zero_is_not_uploaded_and_says_why(here: World) -> None:
    first = sale(here)
    write(here, first, again(first, -3000, 1))
    with here.sink():
        assert here.until_settled() == {"processed": 1}
    assert figures(here) == (1, 0, 0)
    assert "no amount below zero is uploaded" in here.value("SELECT notes FROM webhook_conversions")
