"""Values mean what the sender meant, in every dialect alike: one conversion, written as each of them writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import orjson
import pytest
from prometheus_client import REGISTRY

from producers.dialects.outcome import Doubt, Refused, Reported, Unidentified
from producers.fetching.deals import conversion_of
from producers.taking import Taken
from schemas.events import RawEvent
from tests.unit.producers.crm import FORM, JSON, accepted, error_class, events, outcome
from tests.unit.producers.parts import NOW_MS, SECRET, WEBHOOK, Service, webhook

YM_UID = "1744296311369632447"
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)

# How each dialect's sender writes goalpost's fields; amoCRM's lead has names of its own for some.
_OF_A_LEAD = {"goal_value": "price", "occurred_at": "last_modified"}
DIALECTS = ["generic", "generic_form", "zapier", "make", "tilda", "bitrix24", "amocrm"]
KEEPING = [name for name in DIALECTS if name != "generic"]


def sent(dialect: str, fields: Mapping[str, Any], **configured: object) -> Taken | object:
    """Return what becomes of a conversion with ``fields`` when this dialect's sender sends it."""
    pairs = [(name, str(value)) for name, value in fields.items()]
    if dialect in ("generic", "zapier", "make"):
        return outcome(dialect, orjson.dumps(dict(fields)), JSON, **configured)  # type: ignore[arg-type]  # as of outcome
    if dialect == "bitrix24":
        return outcome(dialect, [("document_id[2]", "DEAL_1")], query=urlencode(pairs), **configured)  # type: ignore[arg-type]  # as of outcome
    if dialect == "amocrm":
        at = "leads[status][0]"
        lead = [(f"{at}[{_OF_A_LEAD.get(name, name)}]", value) for name, value in pairs]
        whole = [(f"{at}[id]", "31"), (f"{at}[status_id]", "142"), *lead]
        return outcome(dialect, whole, **configured)  # type: ignore[arg-type]  # as of outcome
    return outcome(dialect.partition("_")[0], pairs, FORM, **configured)  # type: ignore[arg-type]  # as of outcome


def event(dialect: str, fields: Mapping[str, Any], **configured: object) -> RawEvent:
    found = sent(dialect, {"ym_uid": YM_UID, **fields}, **configured)
    assert isinstance(found, Taken), found
    (one,) = events(found)
    return one


def refusal(dialect: str, fields: Mapping[str, Any]) -> str:
    """Return why a conversion is not taken: refused where the sender can mend it, else kept."""
    found = sent(dialect, fields)
    if isinstance(found, Taken):
        assert found.event_ids == []
        assert found.kept_for is not None
        return found.kept_for.message
    assert isinstance(found, Refused), found
    return found.message


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("written", "amount", "currency"),
    [
        ("1250.00|RUB", "1250", "RUB"), ("1 250,50 руб.", "1250.5", "RUB"), ("1250 ₽", "1250", "RUB"),
        ("1 250 &#8381;", "1250", "RUB"), ("RUB 1250", "1250", "RUB"), ("1250р.", "1250", "RUB"),
        ("1250.00 RUR", "1250", "RUB"), ("$1,250.50", "1250.5", "USD"), ("1250,50 €", "1250.5", "EUR"),
        ("\u22121\u00a0250,50", "-1250.5", None), ("1\u2009250", "1250", None), ("1’250", "1250", None),
    ],
)  # fmt: skip
def test_money_is_read_alike_in_every_dialect(dialect: str, written: str, amount: str, currency: str | None) -> None:
    found = event(dialect, {"goal_value": written})
    assert (found.goal_value, found.currency) == (Decimal(amount), currency)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_roubles_former_code_is_todays_in_every_dialect(dialect: str) -> None:
    found = event(dialect, {"goal_value": "2500", "currency": "RUR"})
    assert (found.goal_value, found.currency) == (Decimal(2500), "RUB")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_replaced_currency_is_refused_with_the_reason_wherever_it_stands(dialect: str) -> None:
    assert "BYN replaced in 2016" in refusal(dialect, {"ym_uid": YM_UID, "goal_value": "100", "currency": "BYR"})
    assert "BYN replaced in 2016" in refusal(dialect, {"ym_uid": YM_UID, "goal_value": "100|BYR"})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_currency_beside_the_amount_and_one_of_its_own_must_agree(dialect: str) -> None:
    assert event(dialect, {"goal_value": "100 руб.", "currency": "BYN"}).currency == "BYN"
    assert event(dialect, {"goal_value": "$100", "currency": "cad"}).currency == "CAD"
    assert event(dialect, {"goal_value": "¥100", "currency": "CNY"}).currency == "CNY"
    assert "another one than goal_value" in refusal(
        dialect, {"ym_uid": YM_UID, "goal_value": "100 USD", "currency": "RUB"}
    )
    assert "sign of several currencies" in refusal(dialect, {"ym_uid": YM_UID, "goal_value": "¥100"})


def test_a_word_for_several_currencies_is_that_of_the_webhook() -> None:
    assert event("zapier", {"goal_value": "100 руб."}, default_currency="BYN").currency == "BYN"
    assert event("zapier", {"goal_value": "100 руб."}, default_currency="USD").currency == "RUB"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "written",
    [f"\u200b{YM_UID}", f"{YM_UID}\u202c", f'"{YM_UID}"', f'="{YM_UID}"', f"_ym_uid={YM_UID}", f"%22{YM_UID}%22"],
)
def test_an_id_comes_without_what_was_copied_with_it(dialect: str, written: str) -> None:
    assert event(dialect, {"ym_uid": written}).ym_uid == YM_UID


@pytest.mark.parametrize("dialect", ["generic", "zapier", "make", "amocrm"])
def test_a_list_of_one_is_that_one(dialect: str) -> None:
    if dialect == "amocrm":
        lead = {"id": "1", "status_id": "142", "ym_uid": [YM_UID]}
        found = outcome(dialect, orjson.dumps({"leads": {"status": [lead]}}), JSON)
        assert isinstance(found, Taken)
        assert events(found)[0].ym_uid == YM_UID
    else:
        assert event(dialect, {"ym_uid": [YM_UID]}).ym_uid == YM_UID
    (taken,) = events(accepted("zapier", [("ym_uid[]", YM_UID)]))
    assert taken.ym_uid == YM_UID


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("written", ["null", "undefined", "abc", "1.7E+18", "\u200b", "{{ym_uid}}", "12 34"])
def test_what_is_no_id_is_never_said_to_be_missing(dialect: str, written: str) -> None:
    reason = refusal(dialect, {"ym_uid": written})
    assert "ym_uid is there and is no id: " in reason
    assert "Missing" not in reason


@pytest.mark.parametrize("dialect", ["generic", "zapier", "make"])
@pytest.mark.parametrize("written", [0, False, {}, [], [0], 1744296311369632500, 1.5e18])
def test_what_json_has_for_no_id_or_has_rounded_is_none(dialect: str, written: object) -> None:
    reason = refusal(dialect, {"ym_uid": written})
    assert reason.startswith("ym_uid is ")
    assert "Missing" not in reason
    assert event(dialect, {"ym_uid": "7", "yclid": 16064509312686620671}).yclid == "16064509312686620671"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_what_was_not_sent_is_missing(dialect: str) -> None:
    found = sent(dialect, {"ym_uid": "  ", "session_id": "", "goal_name": "paid"})
    if isinstance(found, Taken):
        assert (error_class(found), found.event_ids) == ("no_visitor", [])
    else:
        assert found == Unidentified(kept=False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_stands_for_no_id_costs_no_conversion_that_has_another_and_is_noted(dialect: str) -> None:
    found = event(dialect, {"yclid": "undefined", "event_id": "null"})
    assert (found.ym_uid, found.yclid) == (YM_UID, None)
    assert found.notes is not None
    assert "yclid was passed over: it is there and is no id: it is the word undefined" in found.notes


def test_events_of_a_zap_whose_event_id_is_not_filled_in_are_not_one_event() -> None:
    first, second = (event("zapier", {"event_id": "{{1.id}}", "order_id": str(number)}) for number in (1, 2))
    assert first.event_id != second.event_id


def local(zone: str, at: datetime = NOW) -> str:
    return at.astimezone(ZoneInfo(zone)).strftime("%d.%m.%Y %H:%M:%S")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("configured", "zone"),
    [
        ({}, "Europe/Moscow"),
        ({"timezone": "Asia/Yekaterinburg"}, "Asia/Yekaterinburg"),
        ({"timezone": "Mars/X"}, "Europe/Moscow"),
    ],
)
def test_a_time_without_an_offset_is_local_to_the_webhook(
    dialect: str, configured: dict[str, object], zone: str
) -> None:
    at = NOW - timedelta(days=2)
    assert event(dialect, {"occurred_at": local(zone, at)}, **configured).occurred_at == round(at.timestamp() * 1000)
    with_offset = at.astimezone(ZoneInfo("Asia/Tokyo")).isoformat()
    assert event(dialect, {"occurred_at": with_offset}, **configured).occurred_at == round(at.timestamp() * 1000)
    seconds = str(round(at.timestamp()))
    assert event(dialect, {"occurred_at": seconds}, **configured).occurred_at == round(at.timestamp()) * 1000


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_time_that_has_not_come_is_not_believed_and_the_note_says_so(dialect: str) -> None:
    found = sent(dialect, {"ym_uid": YM_UID, "occurred_at": local("Asia/Vladivostok")})
    assert isinstance(found, Taken)
    assert found.doubts == (Doubt.TIME_IN_FUTURE,)
    (one,) = events(found)
    assert one.occurred_at == NOW_MS
    assert one.notes == "occurred_at lies in the future (2026-09-21T21:13:20+00:00), so the time of receipt stands"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_unreadable_time_is_refused_or_noted_and_never_silently_the_time_of_receipt(dialect: str) -> None:
    found = sent(dialect, {"ym_uid": YM_UID, "occurred_at": "when the moon was full"})
    if isinstance(found, Refused):
        assert dialect == "generic"
        return
    assert isinstance(found, Taken)
    if not found.event_ids:  # goalpost's own contract as a form
        assert error_class(found) == "event_invalid"
        return
    (one,) = events(found)
    assert (one.occurred_at, found.doubts) == (NOW_MS, (Doubt.TIME_UNREADABLE,))
    assert one.notes == "occurred_at is no time, so the time of receipt stands"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_day_alone_ends_before_the_time_of_receipt(dialect: str) -> None:
    today = NOW.astimezone(ZoneInfo("Europe/Moscow")).date()
    assert event(dialect, {"occurred_at": today.isoformat()}).occurred_at == NOW_MS
    yesterday = event(dialect, {"occurred_at": (today - timedelta(days=1)).isoformat()})
    assert yesterday.occurred_at == round(datetime(2026, 9, 20, 20, 59, 59, tzinfo=UTC).timestamp() * 1000)
    assert yesterday.notes is None


def test_a_time_that_one_field_does_not_tell_another_may_and_then_nothing_is_noted() -> None:
    pairs = [
        ("leads[status][0][id]", "1"),
        ("leads[status][0][status_id]", "142"),
        ("leads[status][0][ym_uid]", YM_UID),
    ]
    times = [("leads[status][0][updated_at]", "lately"), ("leads[status][0][last_modified]", "1789990000")]
    (one,) = events(accepted("amocrm", [*pairs, *times]))
    assert (one.occurred_at, one.notes) == (1_789_990_000_000, None)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("character", ["\u200b", "\ufeff", "\u202e", "\u00ad", "\u2066"])
def test_a_goal_and_a_stage_come_without_what_nobody_sees(dialect: str, character: str) -> None:
    fields = {"goal_name": f"{character}order{character}_paid"}
    if dialect == "amocrm":  # a lead's stage is a number
        assert event(dialect, fields).goal_name == "order_paid"
    else:
        found = event(dialect, {**fields, "stage": f"W{character}ON"})
        assert (found.goal_name, found.stage) == ("order_paid", "WON")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x85", "\x9b", "\u2028", "\x7f"])
def test_a_control_character_in_a_goal_is_refused(dialect: str, character: str) -> None:
    reason = refusal(dialect, {"ym_uid": YM_UID, "goal_name": f"order{character}paid"})
    assert f"goal_name contains control characters (U+{ord(character):04X})" in reason


async def test_doubts_are_counted_by_webhook_and_kind() -> None:
    def counted() -> float:
        labels = {"webhook_id": WEBHOOK.webhook_id, "dialect": "zapier", "why": "time_in_future"}
        return REGISTRY.get_sample_value("webhook_doubts_total", labels) or 0

    before = counted()
    service = Service(webhook(dialect="zapier"))
    async with service.client() as client:
        body = {"ym_uid": YM_UID, "occurred_at": "2126-01-01T00:00:00Z"}
        answer = await client.post(f"/hooks/{WEBHOOK.webhook_id}/{SECRET}", json=body)
    assert (answer.status_code, counted()) == (202, before + 1)
    (stored,) = service.publisher.events
    assert stored.notes is not None


def test_a_fetched_deals_times_are_those_of_its_portal() -> None:
    note = RawEvent(
        event_id="n", webhook_id=WEBHOOK.webhook_id, dialect="bitrix24_event", received_at=NOW_MS, occurred_at=NOW_MS
    )
    won = {"ID": "9", "STAGE_ID": "WON", "STAGE_SEMANTIC_ID": "S", "UF_CRM_YM": YM_UID, "OPPORTUNITY": "1250.00|RUB"}

    def fetched(moved: str, timezone: str | None = None, read_at: int | None = None) -> Reported:
        portal = replace(WEBHOOK, dialect="bitrix24_event", timezone=timezone)
        found = conversion_of({**won, "MOVED_TIME": moved}, note, portal, read_at=read_at)
        assert isinstance(found, Reported)
        return found

    at = NOW - timedelta(hours=5)
    for written, timezone in (
        (at.isoformat(), None),
        (local("Asia/Omsk", at), "Asia/Omsk"),
        (local("Europe/Moscow", at), None),
    ):
        found = fetched(written, timezone)
        assert (found.occurred_at, found.currency) == (round(at.timestamp() * 1000), "RUB")
    later = NOW + timedelta(hours=2)  # moved again while the portal was away
    assert fetched(later.isoformat()).doubts == (Doubt.TIME_IN_FUTURE,)
    read_at = NOW_MS + 3 * 3_600_000
    assert fetched(later.isoformat(), read_at=read_at).occurred_at == NOW_MS + 2 * 3_600_000
