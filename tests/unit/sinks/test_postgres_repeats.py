"""What a repeat of a stored conversion means."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import redacted
from schemas.events import Conversion
from sinks.postgres.repeats import (
    Decision,
    Known,
    correction_id,
    correction_of,
    decision_about,
    is_late_session,
    is_other_amount,
    letter_message,
    named_by,
    session_news,
    with_sentence,
)
from tests.sink_material import AT, conversion

HOUR_MS = 3_600_000
EVENT = "8d1b6a2e-5c0f-5d4b-9a3e-2f4c6b8d0e1a"


def known(**over: Any) -> Known:
    """A stored conversion of 3 000 roubles that went ahead by its Yclid."""
    values: dict[str, Any] = {
        "event_id": EVENT,
        "target": "payment_success",
        "price": Decimal("3000.0000"),
        "currency": "RUB",
        "occurred_at": AT,
        "received_at": AT,
        "deadline_at": AT,
        "raw_partition": 3,
        "raw_offset": 7,
        "named_by": "Yclid",
        "awaits_session": True,
        "anonymous": False,
        "on_change": "ignore",
        "notes": None,
        "corrected_at": None,
    }
    return Known(**{**values, **over})


def again(**over: Any) -> Conversion:
    """The same conversion, sent once more with 5 000 roubles."""
    values = {"price": Decimal(5000), "currency": "RUB", "price_sent": True, "raw_offset": 8, "yclid": "55"}
    return conversion(event_id=EVENT, **{**values, **over})


@pytest.mark.parametrize(
    ("repeat", "is_other"),
    [
        ({}, True),
        ({"price": Decimal(3000)}, False),
        ({"price": Decimal("3000.00")}, False),
        ({"price": Decimal(0)}, True),
        ({"price": Decimal(-1)}, True),
        ({"price_sent": False}, False),
        ({"raw_offset": 7}, False),
        ({"raw_offset": 7, "raw_partition": 4}, True),
        ({"price": Decimal(3000), "currency": "USD", "currency_sent": True}, True),
        ({"price": Decimal(3000), "currency": "USD"}, False),
        ({"price": Decimal(3000), "currency": None}, False),
    ],
)
def test_only_what_the_sender_itself_names_is_another_amount(repeat: dict[str, Any], is_other: bool) -> None:
    assert is_other_amount(known(), again(**repeat)) is is_other


@pytest.mark.parametrize(
    ("stored", "repeat", "decision", "said"),
    [
        ({}, {}, Decision.IGNORED, "it came again with 5000 RUB, and 3000 RUB stands"),
        ({"on_change": "letter"}, {}, Decision.LETTERED, "a dead letter asks which amount counts"),
        ({"on_change": "correct"}, {}, Decision.CORRECTED, "which is uploaded as a correction"),
        ({"on_change": "correct"}, {"price": Decimal(0)}, Decision.CORRECTED, "with 0 RUB"),
        ({"on_change": "correct"}, {"price": Decimal(-1)}, Decision.IGNORED, "no amount below zero"),
        ({"on_change": "correct", "anonymous": True}, {}, Decision.IGNORED, "its identifiers were removed"),
        ({"on_change": "correct", "named_by": "Contact"}, {}, Decision.IGNORED, "a CRM order"),
        ({"on_change": "correct"}, {"received_at": AT - 1}, Decision.IGNORED, "was received before"),
        ({"on_change": "correct", "corrected_at": AT + 2}, {"received_at": AT + 1}, Decision.IGNORED, "before"),
        ({"on_change": "correct", "corrected_at": AT + 2}, {"received_at": AT + 3}, Decision.CORRECTED, "uploaded"),
    ],
)
def test_the_webhook_decides_about_another_amount_and_the_sentence_says_what(
    stored: dict[str, Any], repeat: dict[str, Any], decision: Decision, said: str
) -> None:
    found, sentence = decision_about(known(**stored), again(**repeat))
    assert found is decision
    assert said in sentence


def test_a_person_who_replays_the_letter_wants_the_amount_whatever_the_webhook_says() -> None:
    assert correction_of(known(on_change="letter"), again())[0] is Decision.CORRECTED


def test_a_letter_shows_amounts_of_any_size() -> None:
    """What looks like a telephone number is hidden in reasons."""
    repeat = again(price=Decimal("1234567890.5"))
    assert "1,234,567,890.5 RUB" in redacted(letter_message(known(price=Decimal(1_000_000)), repeat))
    assert "1,000,000 RUB" in redacted(letter_message(known(price=Decimal(1_000_000)), repeat))


amounts = st.tuples(st.decimals("-1000", "1000", places=4), st.sampled_from([None, "RUB", "USD"]))


@given(amounts, amounts)
def test_a_correction_has_one_id_for_each_amount(
    one: tuple[Decimal, str | None], other: tuple[Decimal, str | None]
) -> None:
    ids = [correction_id(EVENT, again(price=price, currency=currency)) for price, currency in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)
    assert EVENT not in ids


@pytest.mark.parametrize(
    ("awaits", "missing", "late"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_session_is_late_only_for_what_awaits_it(awaits: bool, missing: bool, late: bool) -> None:
    assert is_late_session(known(awaits_session=awaits), again(session_missing=missing)) is late


def test_a_late_session_says_what_would_have_differed_and_names_nobody() -> None:
    late = again(
        session_missing=False, client_id="1763790000123456789", resolved_at=AT + 5 * HOUR_MS, deadline_at=AT - 1
    )
    said = session_news(known(), late, row_is_there=True)
    assert said.split("; ") == [
        "its session came 5 h after it was received, and its goal was appended then",
        "with its session it would have gone to Metrika by ClientId, not Yclid",
        "with its session its deadline would have been 2025-11-22T05:40:00Z",
    ]
    assert "1763790000123456789" not in said
    by_phone = session_news(known(named_by="Contact"), late, row_is_there=True)
    assert "by ClientId, not a phone or an e-mail" in by_phone


@pytest.mark.parametrize(
    ("after_ms", "said"),
    [(-5, "0 s"), (40_000, "40 s"), (150_000, "2 min"), (2 * HOUR_MS, "2 h"), (30 * HOUR_MS, "30 h")],
)
def test_where_nothing_would_have_differed_only_the_delay_is_told(after_ms: int, said: str) -> None:
    late = again(session_missing=False, resolved_at=AT + after_ms)
    assert session_news(known(), late, row_is_there=False) == (
        f"its session came {said} after it was received, and there is no such row in user_analytics"
    )


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"client_id": "1", "yclid": "2"}, "ClientId"),
        ({"user_id": "3"}, "Yclid"),
        ({"yclid": None, "user_id": "3", "purchase_id": "4"}, "UserId"),
        ({"yclid": None, "purchase_id": "4"}, "PurchaseId"),
        ({"yclid": None}, "Contact"),
    ],
)
def test_the_identifier_is_that_of_the_uploads(ids: dict[str, Any], expected: str) -> None:
    assert named_by(again(**ids)) == expected


def test_sentences_are_joined_until_the_notes_are_long() -> None:
    assert with_sentence(None, "a") == with_sentence("", "a") == "a"
    assert with_sentence("a", "b") == "a; b"
    assert with_sentence("x" * 1001, "b") == "x" * 1001


def test_nothing_is_decided_by_what_the_repeat_may_not_change() -> None:
    repeat = again(target="another", payload="{}", client_id="9", occurred_at=AT + 1, order_id="2")
    assert decision_about(known(), repeat) == decision_about(known(), replace(repeat, target="payment_success"))
