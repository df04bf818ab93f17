"""Keys and ids: the same thing has the same name everywhere and always."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import RawEvent
from schemas.identity import event_id_for, event_key, row_id_for, session_key, visitor_key

WEBHOOK = "6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11"
OTHER_WEBHOOK = "7f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11"


def _event(*, session_id: str | None = None, ym_uid: str | None = None) -> RawEvent:
    return RawEvent(
        event_id="1",
        webhook_id=WEBHOOK,
        dialect="generic",
        received_at=0,
        occurred_at=0,
        session_id=session_id,
        ym_uid=ym_uid,
    )


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (_event(session_id="a", ym_uid="7"), b"s:a"),
        (_event(ym_uid="7"), b"u:7"),
        (_event(), b"e:1"),
    ],
)
def test_an_event_is_keyed_by_session_else_by_visitor_else_by_itself(event: RawEvent, key: bytes) -> None:
    assert event_key(event) == key


def test_an_event_has_the_key_under_which_its_session_is_stored() -> None:
    assert event_key(_event(session_id="сессия-1")) == session_key("сессия-1")
    assert event_key(_event(ym_uid="17672249991234567890")) == visitor_key("17672249991234567890")


@given(delivery=st.text(max_size=50))
def test_a_repeated_delivery_has_the_same_event_id(delivery: str) -> None:
    assert event_id_for(WEBHOOK, delivery) == event_id_for(WEBHOOK, delivery)
    assert str(uuid.UUID(event_id_for(WEBHOOK, delivery))) == event_id_for(WEBHOOK, delivery)


@given(delivery=st.text(max_size=50))
def test_one_sender_cannot_take_the_event_ids_of_another(delivery: str) -> None:
    assert event_id_for(WEBHOOK, delivery) != event_id_for(OTHER_WEBHOOK, delivery)


def test_the_row_of_a_session_has_an_id_that_no_release_may_change() -> None:
    assert row_id_for("1767225000_k3j9x2") == "95ee3d64-e31c-5b83-9fbe-02c540c1e6aa"
