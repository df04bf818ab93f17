"""What is particular to the dialects of CRMs, beyond the golden requests."""

from __future__ import annotations

import itertools

import httpx
import orjson
import pytest
from prometheus_client import REGISTRY

from runtime.vault import hash_of
from schemas.records import header
from schemas.topics import IGNORED, REJECTED, UNFETCHED
from tests.unit.producers.crm import FORM, JSON, Pairs, accepted, error_class, events
from tests.unit.producers.parts import SECRET, WEBHOOK, Service, webhook

YM_UID = "1666707227246044402"
HOOK = f"/hooks/{WEBHOOK.webhook_id}"
WEBHOOK_KEY = WEBHOOK.webhook_id.encode()


def lead(index: int = 0, action: str = "status", **changes: str) -> Pairs:
    """A won lead of amoCRM's with a visitor, and with changes; an empty one leaves the field out."""
    fields = {"id": "31", "status_id": "142", "old_status_id": "1", "price": "100", "last_modified": "1789990000"}
    at = f"leads[{action}][{index}]"
    custom = [(f"{at}[custom_fields][0][name]", "_ym_uid"), (f"{at}[custom_fields][0][values][0][value]", YM_UID)]
    return [(f"{at}[{name}]", value) for name, value in {**fields, **changes}.items() if value] + custom


ACCOUNT = [("account[id]", "77")]


def ids(*pairs: Pairs, rules: tuple[str, ...] = ("*=moved",)) -> list[str]:
    return accepted("amocrm", [*itertools.chain(*pairs), *ACCOUNT], rules=rules).event_ids


def test_two_stages_of_a_lead_are_two_events_and_a_repeat_of_one_is_the_same() -> None:
    won, lost = ids(lead()), ids(lead(status_id="143"))
    assert len({*won, *lost}) == 2
    assert ids(lead(price="200")) == ids(lead(last_modified="1789999999")) == won


def test_leads_have_the_same_ids_whichever_neighbours_they_come_with() -> None:
    first, second = lead(0, id="1"), lead(1, id="2")
    moved = lead(0, id="2")
    assert ids(first, second) == ids(first) + ids(moved)


def test_leads_that_share_an_index_or_have_none_are_several_all_the_same() -> None:
    apart = ids(lead(0, id="1"), lead(1, id="2", price=""), lead(2, id="3"))
    shared = [*lead(0, id="1"), *lead(0, id="2", price=""), *lead(0, id="3")]
    assert ids(shared) == apart
    assert ids([(name.replace("[status][0]", "[status][]"), value) for name, value in shared]) == apart
    amounts = [event.goal_value for event in events(accepted("amocrm", [*shared, *ACCOUNT]))]
    assert amounts == [100, None, 100]


def test_an_update_is_a_conversion_only_where_it_tells_of_another_stage_before() -> None:
    assert len(ids(lead(action="update"))) == 1
    assert ids(lead(action="update"), rules=()) == ids(lead(), rules=())
    for former in ("142", ""):
        found = accepted("amocrm", [*lead(action="update", old_status_id=former), *ACCOUNT])
        assert (found.event_ids, [one.value for one in found.ignored]) == ([], ["other_event"])


@pytest.mark.parametrize(
    ("rules", "stage"),
    [
        ((), "142"),
        (("142=won",), "142"),
        (("9:142=won", "142=also"), "9:142"),
        (("8:142=won", "142=also"), "142"),
        (("143=lost",), None),
        (("143=lost", "*=any"), "142"),
        (("status=any_move",), "status"),
    ],
)
def test_a_rule_names_a_stage_with_or_without_its_pipeline_or_an_action_or_any(
    rules: tuple[str, ...], stage: str | None
) -> None:
    found = accepted("amocrm", [*lead(pipeline_id="9"), *ACCOUNT], rules=rules)
    assert [event.stage for event in events(found)] == ([] if stage is None else [stage])
    assert [one.value for one in found.ignored] == ([] if stage else ["other_stage"])


def test_a_sum_that_nobody_has_filled_in_is_none() -> None:
    for price in ("0", "0.00", ""):
        (event,) = events(accepted("amocrm", [*lead(price=price), *ACCOUNT]))
        assert event.goal_value is None
    (event,) = events(accepted("bitrix24", b"", query="deal_id=1&ym_uid=5&OPPORTUNITY=0.00%7CRUB"))
    assert event.goal_value is None


def test_a_field_of_a_usual_name_that_holds_something_else_is_passed_over_but_a_named_one_is_not() -> None:
    pairs = [*lead(), ("leads[status][0][yclid]", "none"), *ACCOUNT]
    (event,) = events(accepted("amocrm", pairs))
    assert (event.ym_uid, event.yclid) == (YM_UID, None)
    found = accepted("amocrm", pairs, fields={"yclid": "yclid"})
    assert found.kept_for is not None
    assert (error_class(found), found.kept_for.message[:23]) == ("event_invalid", "leads.status[0].yclid i")


@pytest.mark.parametrize(("value", "taken"), [(YM_UID, True), ("582", False), ("GA1.2.55.66", False)])
def test_a_client_id_is_metrikas_only_if_it_looks_like_one(value: str, taken: bool) -> None:
    for dialect in ("bitrix24", "tilda"):
        found = accepted(dialect, [("ClientID", value), ("deal_id", "1")])
        assert (len(found.event_ids), error_class(found)) == ((1, None) if taken else (0, "no_visitor"))


def test_an_amount_that_cannot_be_read_costs_one_lead_and_keeps_the_body() -> None:
    found = accepted("amocrm", [*lead(0, id="1", price="much"), *lead(1, id="2"), *ACCOUNT])
    assert [event.order_id for event in events(found)] == ["2"]
    assert error_class(found) == "event_invalid"


def test_more_leads_than_copies_of_the_body_can_be_made_of_are_kept_and_never_413() -> None:
    pairs = [pair for index in range(300) for pair in lead(index, id=str(index), name="x" * 700)]
    found = accepted("amocrm", pairs)
    assert (found.status, found.event_ids, error_class(found)) == (200, [], "body_unparseable")
    assert [record.topic for record in found.records] == [REJECTED.name]


def test_a_hundred_leads_of_thousands_of_fields_are_read() -> None:
    pairs = [pair for index in range(100) for pair in lead(index, id=str(index), **{f"f{n}": "1" for n in range(40)})]
    assert len(accepted("amocrm", pairs).event_ids) == 100


def test_a_robot_that_fires_again_is_one_event_and_another_goal_is_another() -> None:
    document = [("document_id[2]", "DEAL_5")]

    def fired(query: str) -> str:
        (event_id,) = accepted("bitrix24", document, query=f"ym_uid=5&{query}").event_ids
        return event_id

    assert fired("stage=WON") == fired("stage=WON&goal_value=7") != fired("stage=C2:WON")
    assert fired("goal_name=paid") not in (fired("stage=WON"), fired(""))
    assert fired("deal_id=9") == fired("")


def test_the_query_of_a_robot_may_be_in_windows_1251_too() -> None:
    (event,) = events(accepted("bitrix24", b"", query="deal_id=1&ym_uid=5&stage=%D3%F1%EF%E5%F5"))
    assert event.stage == "Успех"


def test_a_crms_body_is_read_whatever_its_content_type_and_byte_order_mark_say() -> None:
    note = b'{"event": "ONCRMDEALADD", "data": {"FIELDS": {"ID": "5"}}, "auth": {"application_token": "of-the-shop"}}'
    (plain,) = events(accepted("bitrix24_event", note, JSON))
    (marked,) = events(accepted("bitrix24_event", b"\xef\xbb\xbf" + note, JSON))
    assert (marked.event_id, b"of-the-shop" in marked.body) == (plain.event_id, False)
    (event,) = events(accepted("amocrm", [*lead(), *ACCOUNT], JSON))
    assert event.ym_uid == YM_UID
    (event,) = events(accepted("zapier", '{"ym_uid": "5", "goal_name": "покупка"}'.encode("cp1251"), JSON))
    assert event.goal_name == "покупка"


def test_a_forms_cookies_are_found_whatever_it_is_sent_as() -> None:
    cookies = f"a=b; _ym_uid={YM_UID}"
    multipart = httpx.Request("POST", "http://door", data={"COOKIES": cookies, "tranid": "1"}, files={"f": b"1"})
    for body, content_type in (
        ([("COOKIES", cookies), ("tranid", "1")], FORM),
        (orjson.dumps({"COOKIES": cookies, "tranid": "1"}), JSON),
        (multipart.read(), multipart.headers["content-type"]),
    ):
        (event,) = events(accepted("tilda", body, content_type))
        assert event.ym_uid == YM_UID
        assert b"a=b" not in event.body
        assert orjson.loads(event.payload or "")["COOKIES"] == {"_ym_uid": YM_UID}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b'{"COOKIES": "a=b; c=d", ', JSON), (b'--x\r\nContent-Disposition: form-data; name="COOKIES"\r\nc=d', None)],
)
def test_what_may_hold_cookies_and_cannot_be_read_is_kept_without_them(body: bytes, content_type: str | None) -> None:
    found = accepted("tilda", body, content_type or "multipart/form-data; boundary=x")
    assert error_class(found) == "body_unparseable"
    assert b"c=d" not in (found.records[0].value or b"")


@pytest.mark.parametrize(("token", "status"), [("of-the-portal-of-the-shop", 202), ("of-another", 401)])
async def test_bitrix24_authenticates_itself_by_its_application_token(token: str, status: int) -> None:
    portals = hash_of("of-the-portal-of-the-shop")
    service = Service(webhook(dialect="bitrix24_event", secret_hashes=(hash_of(SECRET), portals)))
    async with service.client() as client:
        body = f"event=ONCRMDEALADD&data[FIELDS][ID]=5&ts=1789990000&auth[application_token]={token}"
        answer = await client.post(HOOK, content=body, headers={"Content-Type": FORM})
    assert answer.status_code == status
    noted = [record for record in service.publisher.records if record.topic == UNFETCHED.name]
    assert len(noted) == (status == 202)
    assert all(token.encode() not in (record.value or b"") for record in noted)


async def test_what_is_ignored_is_said_and_counted() -> None:
    def counted() -> float:
        labels = {"webhook_id": WEBHOOK.webhook_id, "dialect": "amocrm", "why": "other_stage"}
        return REGISTRY.get_sample_value("webhook_ignored_total", labels) or 0

    before = counted()
    service = Service(webhook(dialect="amocrm"))
    async with service.client() as client:
        moved = dict([*lead(status_id="77"), *ACCOUNT])
        answer = await client.post(f"{HOOK}/{SECRET}", data=moved)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "event_ids": [], "ignored": 1})
    assert counted() == before + 1
    (kept,) = service.publisher.records
    assert (kept.topic, kept.key, header(kept.headers, "ignored")) == (IGNORED.name, WEBHOOK_KEY, "other_stage")


@pytest.mark.parametrize(("dialect", "status"), [("tilda", 200), ("zapier", 202)])
async def test_each_sender_is_answered_with_the_success_that_it_understands(dialect: str, status: int) -> None:
    service = Service(webhook(dialect=dialect))
    async with service.client() as client:
        answer = await client.post(f"{HOOK}/{SECRET}", data={"ym_uid": "5", "order_id": "7"})
    assert (answer.status_code, len(service.publisher.events)) == (status, 1)
