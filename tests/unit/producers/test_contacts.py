"""Phones and e-mails: hashed as Metrika asks, and read only where the webhook uploads orders."""

from __future__ import annotations

from hashlib import md5
from typing import Any

import orjson
import pytest

from producers.dialects import DIALECTS
from producers.dialects.contacts import email_md5, phone_md5
from producers.dialects.outcome import Refused, Reported, Unidentified
from producers.fetching.deals import conversion_of
from producers.fields import BadField
from schemas.events import RawEvent
from tests.unit.producers.crm import JSON, accepted, error_class, events, outcome
from tests.unit.producers.parts import NOW_MS, webhook

# Both are the check values of Metrika's documentation.
EMAIL_HASH = "3c56ff8fef0f6c65b36b2d25720fe276"
PHONE_HASH = "f09f2c3d48f31e2a802944ade2e5aec5"

LEAD = "leads[status][0]"
SENT: dict[str, list[tuple[str, str]]] = {
    "generic": [("phone", "+7 999 555-11-11"), ("email", "mail@yandex.ru")],
    "bitrix24": [("document_id[2]", "DEAL_54"), ("PHONE[0][VALUE]", "8(999)5551111"), ("EMAIL", "mail@yandex.ru")],
    "amocrm": [
        (f"{LEAD}[id]", "5"),
        (f"{LEAD}[status_id]", "142"),
        (f"{LEAD}[custom_fields][0][name]", "Телефон"),
        (f"{LEAD}[custom_fields][0][values][0][value]", "8 999 555 11 11"),
        (f"{LEAD}[custom_fields][1][code]", "EMAIL"),
        (f"{LEAD}[custom_fields][1][values][0][value]", " Mail@Yandex.ru "),
    ],
    "tilda": [("tranid", "1:2"), ("Phone", "8 (999) 555-11-11"), ("Email", "MAIL@YANDEX.RU")],
    "zapier": [("Phone", "79995551111"), ("E-mail", "mail@yandex.ru")],
    "make": [("phone", "+7 (999) 555-11-11"), ("email", "mail@yandex.ru")],
}


def test_the_check_values_of_metrikas_documentation() -> None:
    assert email_md5({"email": "mail@yandex.ru"}, "email") == EMAIL_HASH
    assert phone_md5({"phone": "79995551111"}, "phone") == PHONE_HASH


@pytest.mark.parametrize(
    "written",
    [
        "79995551111", "+79995551111", "+7 (999) 555-11-11", "8 999 555 11 11", "89995551111", "8(999)555-11-11",
        "+8 999 555-11-11", "007 999 555 11 11", "+7\u00a0999\u2011555\u201311.11", 79995551111,
        "+7 999 555-11-11, 8 495 123-45-67", " ; 8-999-555-11-11",
    ],
)  # fmt: skip
def test_a_phone_is_the_same_however_it_is_written(written: Any) -> None:
    assert phone_md5({"phone": written}, "phone") == PHONE_HASH


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        ("+375 29 123-45-67", "375291234567"),
        ("375291234567", "375291234567"),
        ("+82 2 123 45678", "82212345678"),  # eleven digits that begin with 8, and not a Russian one
        ("+372 512 3456", "3725123456"),
    ],
)
def test_other_countries_keep_their_codes(written: str, digits: str) -> None:
    assert phone_md5({"phone": written}, "phone") == md5(digits.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("written", ["9995551111", "5551111", "call me", "+7 999 555-11-11 ext. 3", "+", "0", [], 1.5])
def test_a_phone_whose_country_would_have_to_be_guessed_is_refused(written: Any) -> None:
    with pytest.raises(BadField, match=r"^phone is"):
        phone_md5({"phone": written}, "phone")


@pytest.mark.parametrize("written", ["mail", "@yandex.ru", "mail@yandex", "a b@yandex.ru", "mail@yandex..ru", {}])
def test_what_is_no_address_is_refused(written: Any) -> None:
    with pytest.raises(BadField):
        email_md5({"email": written}, "email")


@pytest.mark.parametrize("written", [None, "", "  ", ",;"])
def test_nothing_is_nothing(written: str | None) -> None:
    assert email_md5({"email": written}, "email") is None
    assert phone_md5({"phone": written}, "phone") is None


def test_every_dialect_whose_bodies_hold_the_conversion_is_tried() -> None:
    assert set(SENT) == {name for name, dialect in DIALECTS.items() if not dialect.fetched}


@pytest.mark.parametrize("dialect", SENT)
def test_a_phone_and_an_email_make_an_event_where_the_webhook_uploads_orders(dialect: str) -> None:
    found = accepted(dialect, SENT[dialect], uploads_orders=True)
    (event,) = events(found)
    assert (event.email_md5, event.phone_md5) == (EMAIL_HASH, PHONE_HASH)
    assert error_class(found) is None


@pytest.mark.parametrize("dialect", SENT)
def test_without_that_they_are_not_read(dialect: str) -> None:
    found = accepted(dialect, SENT[dialect])
    assert events(found) == []
    assert error_class(found) == "no_visitor"
    with_visitor = [*SENT[dialect], (f"{LEAD}[ym_uid]" if dialect == "amocrm" else "ym_uid", "1666707227246044402")]
    (event,) = events(accepted(dialect, with_visitor))
    assert (event.email_md5, event.phone_md5) == (None, None)


def test_the_place_that_the_webhook_names_counts_alone() -> None:
    pairs = [("phone", "+7 999 000-00-00"), ("client[tel]", "+7 999 555-11-11")]
    (event,) = events(accepted("tilda", pairs, fields={"phone": "client.tel"}, uploads_orders=True))
    assert event.phone_md5 == PHONE_HASH


def test_json_of_ones_own_program_is_told_what_is_wrong_with_a_phone() -> None:
    body = orjson.dumps({"phone": "9995551111"})
    found = outcome("generic", body, JSON, uploads_orders=True)
    assert isinstance(found, Refused)
    assert found.field == "phone"
    assert isinstance(outcome("generic", body, JSON), Unidentified)


def test_an_unreadable_phone_costs_no_conversion_that_has_a_visitor_or_an_email() -> None:
    for other in ({"session_id": "s"}, {"email": "mail@yandex.ru"}):
        body = orjson.dumps({"phone": "call me", **other})
        (event,) = events(accepted("generic", body, JSON, uploads_orders=True))
        assert event.phone_md5 is None


def test_a_deal_that_was_fetched_is_read_the_same_way() -> None:
    deal = {"ID": "54", "STAGE_ID": "WON", "STAGE_SEMANTIC_ID": "S", "PHONE": [{"VALUE": "8 999 555 11 11"}]}
    note = RawEvent(event_id="n", webhook_id="w", dialect="bitrix24_event", received_at=NOW_MS, occurred_at=NOW_MS)
    found = conversion_of(deal, note, webhook(uploads_orders=True))
    assert isinstance(found, Reported)
    assert found.phone_md5 == PHONE_HASH
    assert isinstance(conversion_of(deal, note, webhook()), Unidentified)


def test_an_address_may_carry_the_phone() -> None:
    query = "phone=89995551111"
    (event,) = events(accepted("generic", b"", None, query=query, uploads_orders=True))
    assert event.phone_md5 == PHONE_HASH
    assert accepted("generic", b"", None, query=query).records == []
