"""What amoCRM's webhook tells, and what only looks like it: the first has one meaning, the second is kept."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from producers.dialects.outcome import Ignored
from schemas.records import header
from schemas.topics import IGNORED, RAW, REJECTED
from tests.unit.producers.crm import FORM, JSON, Pairs, accepted, error_class, events

YM_UID = "1666707227246044402"
ACCOUNT = [("account[id]", "55"), ("account[subdomain]", "shop")]

V4_LEAD: dict[str, Any] = {
    "id": 9612,
    "status_id": 142,
    "pipeline_id": 77,
    "price": 4500,
    "updated_at": 1_796_035_000,
    "account_id": 55,
    "custom_fields_values": [{"field_name": "_ym_uid", "values": [{"value": YM_UID}]}],
}
V2_LEAD = {**V4_LEAD, "custom_fields": [{"id": 11, "name": "_ym_uid", "values": [{"value": YM_UID}]}]}
CONTACT = {"id": 1, "name": "A"}


def fields(place: str, *, status: str = "142", former: str = "", at: str = "", number: str = "9") -> Pairs:
    """A lead with a visitor in a form, under ``place``."""
    told = {"id": number, "status_id": status, "pipeline_id": "77", "price": "100", "account_id": "55"}
    told |= {"old_status_id": former, "last_modified": at, "updated_at": at}
    own = [(f"{place}[custom_fields][0][name]", "_ym_uid"), (f"{place}[custom_fields][0][values][0][value]", YM_UID)]
    return [(f"{place}[{name}]", value) for name, value in told.items() if value] + own


@pytest.mark.parametrize(
    "content",
    [
        {"leads": [V4_LEAD]},
        {"leads": [V4_LEAD, {**V4_LEAD, "status_id": 1}]},
        {"leads": {"0": V4_LEAD}},
        {"leads": V4_LEAD},
        {"leads": V2_LEAD},
        {"lead": V4_LEAD},
        {"lead": [V4_LEAD]},
        {"lead": V2_LEAD, "account": {"id": 55}},
        V4_LEAD,
        [V4_LEAD],
        [V4_LEAD, V4_LEAD],
        {"_embedded": {"leads": [V4_LEAD]}},
        {"_embedded": {"leads": [V4_LEAD]}, "account": {"id": 55}},
        {"_page": 1, "_links": {}, "_embedded": {"leads": [V4_LEAD]}, "contacts": {"add": [CONTACT]}},
        {"leads": {"moved": [V4_LEAD]}},
        {"leads": {"status": []}},
        {"leads": {"status": [{"status_id": 142}]}},
        {"leads": {"status": ["9612"]}},
        {"leads": {"status": "9612"}},
        {"leads": {"status": {"id": 9612}}},
        {"leads": [], "contacts": {"add": [CONTACT]}},
        {"leads": None, "task": {"add": [CONTACT]}},
        {"account": {"id": 55}},
        {"account": {"id": 55}, "deal": V4_LEAD},
        {"contacts": [CONTACT]},
        {"contacts": {"add": [CONTACT]}, "deals": [V4_LEAD]},
        {"contacts": {"add": [CONTACT]}, "leads": {"add": [{"status_id": 142}]}},
        {"event": V4_LEAD},
        {"event": {"data": V4_LEAD["custom_fields_values"], "type": 15}},
    ],
    ids=lambda content: orjson.dumps(content)[:60].decode(),
)
def test_what_is_not_amocrms_own_shape_is_kept_and_never_ignored(content: object) -> None:
    body = orjson.dumps(content)
    found = accepted("amocrm", body, JSON)
    assert (found.event_ids, found.ignored) == ([], ())
    assert (error_class(found), [record.value for record in found.records]) == ("body_unparseable", [body])


@pytest.mark.parametrize("place", ["leads[0]", "leads[moved][0]", "lead", "leads[custom_fields]", "data[leads][0]", ""])
def test_a_form_of_another_shape_is_kept_as_well(place: str) -> None:
    pairs = fields(place) if place else [("id", "9"), ("status_id", "142")]
    found = accepted("amocrm", [*pairs, *ACCOUNT])
    assert (found.event_ids, found.ignored, error_class(found)) == ([], (), "body_unparseable")


@pytest.mark.parametrize(
    "content",
    [
        {"contacts": {"add": [CONTACT]}, "account": {"id": 55}},
        {"contacts": {"update": {"0": CONTACT}}, "companies": {"update": [CONTACT]}},
        {"task": {"add": [CONTACT]}},
        {"unsorted": {"add": [CONTACT]}},
        {"message": {"add": [CONTACT]}, "account": {"subdomain": "shop"}},
    ],
)
def test_what_is_about_something_else_for_certain_is_ignored_and_not_kept(content: object) -> None:
    found = accepted("amocrm", orjson.dumps(content), JSON)
    assert (found.records, found.ignored) == ([], (Ignored.OTHER_ENTITY,))


def test_a_lead_that_cannot_be_read_costs_its_neighbours_nothing() -> None:
    content = {"leads": {"status": [V4_LEAD, {"status_id": 142}, "x"], "moved": [V4_LEAD]}}
    found = accepted("amocrm", orjson.dumps(content), JSON)
    assert ([event.order_id for event in events(found)], error_class(found)) == (["9612"], "body_unparseable")
    assert [record.topic for record in found.records] == [RAW.name, REJECTED.name]


def test_an_action_that_a_rule_names_is_known_whatever_amocrm_calls_it() -> None:
    found = accepted("amocrm", orjson.dumps({"leads": {"merged": [V4_LEAD]}}), JSON, rules=["merged=merge"])
    assert [event.stage for event in events(found)] == ["merged"]


def test_a_field_in_the_form_of_the_api_is_read_in_amocrms_own_shape() -> None:
    (event,) = events(accepted("amocrm", orjson.dumps({"leads": {"status": [V4_LEAD]}}), JSON))
    assert (event.ym_uid, event.order_id) == (YM_UID, "9612")


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (fields("leads[status][0]", status="77", former="1"), "other_stage"),
        (fields("leads[update][0]"), "other_event"),
        (fields("leads[note][0]"), "other_event"),
        ([*fields("leads[status][0]", status="77"), *fields("leads[update][0]")], "other_event,other_stage"),
    ],
)
def test_what_a_rule_may_name_later_is_one_record_for_a_week(pairs: Pairs, why: str) -> None:
    found = accepted("amocrm", [*pairs, *ACCOUNT])
    (record,) = found.records
    assert (record.topic, header(record.headers, "ignored")) == (IGNORED.name, why)
    assert record.value == urlencode([*pairs, *ACCOUNT]).encode()
    assert (header(record.headers, "content-type"), header(record.headers, "received_at")) == (FORM, "1790000000000")
    assert IGNORED.retention_ms == 7 * 86_400_000


def test_taken_rejected_and_ignored_leads_of_one_body_are_three_records() -> None:
    won, moved, nobody = (
        fields("leads[status][0]"),
        fields("leads[status][1]", status="7"),
        [("leads[add][0][id]", "5")],
    )
    nobody.append(("leads[add][0][status_id]", "142"))
    found = accepted("amocrm", [*won, *moved, *nobody, *ACCOUNT])
    assert [record.topic for record in found.records] == [RAW.name, REJECTED.name, IGNORED.name]


MOVE = {
    "the stage's hook": fields("leads[status][0]", former="141", at="1796035000"),
    "the change's hook, a second later": fields("leads[update][0]", former="141", at="1796035001"),
    "the change's hook, at once": fields("leads[update][3]", former="141", at="1796035000"),
    "the hook of an added lead": fields("leads[add][0]", at="1796034999"),
    "the Digital Pipeline's": fields("leads[status]", former="141"),
    "the Digital Pipeline's, as documented": fields("lead[event]"),
    "an hour later, when it has won again": fields("leads[status][0]", former="140", at="1796038600"),
}
ACCOUNTS: tuple[Pairs, ...] = ([("account[id]", "55")], [("account[subdomain]", "shop")], ACCOUNT, [])
MOVES = {
    **MOVE,
    "a widget's": orjson.dumps(
        {
            "event": {
                "type_code": "lead_appeared_in_status",
                "data": {**V2_LEAD, "id": 9, "element_type": 2},
                "time": 1_796_035_002,
            },
            "account_id": 55,
        }
    ),
    "in JSON": orjson.dumps({"leads": {"status": [{**V2_LEAD, "id": 9}]}, "account": {"id": 55}}),
}


@pytest.mark.parametrize(
    "rules", [(), ("142=won",), ("77:142=won",), ("*=any",), ("142=a", "add=b", "status=c", "update=d")]
)
def test_one_move_is_one_conversion_however_many_hooks_tell_it_and_in_which_order(rules: tuple[str, ...]) -> None:
    ids = set()
    for told, account in itertools.product(MOVES.values(), ACCOUNTS):
        body = told if isinstance(told, bytes) else [*told, *account]
        ids |= {*accepted("amocrm", body, JSON if isinstance(told, bytes) else FORM, rules=rules).event_ids}
    assert len(ids) == 1


def test_hooks_that_come_in_one_body_are_one_conversion_too() -> None:
    both = [*fields("leads[status][0]", former="141"), *fields("leads[update][0]", former="141", at="1796035001")]
    assert len({*accepted("amocrm", [*both, *ACCOUNT]).event_ids}) == 1


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (("*=any",), [fields("leads[status][0]"), fields("leads[status][0]", status="7")]),
        ((), [fields("leads[status][0]"), fields("leads[status][0]", number="10")]),
        (("add=new", "7=moved"), [fields("leads[add][0]", status="8"), fields("leads[status][0]", status="7")]),
        (
            ("add=new", "7=moved"),
            [fields("leads[add][0]", status="8"), fields("leads[update][0]", status="7", former="8")],
        ),
        (("status=any",), [fields("leads[status][0]", status="7"), fields("leads[status][0]", status="8")]),
        (("note=noted",), [fields("leads[note][0]", at="1796035000"), fields("leads[note][0]", at="1796036000")]),
    ],
)
def test_what_is_another_conversion_stays_another_one(rules: tuple[str, ...], told: list[Pairs]) -> None:
    ids = [one for pairs in told for one in accepted("amocrm", [*pairs, *ACCOUNT], rules=rules).event_ids]
    assert len({*ids}) == len(ids) == 2


def test_a_goal_for_each_pipeline_is_counted_in_each() -> None:
    sold = [(name, "78" if name.endswith("[pipeline_id]") else value) for name, value in fields("leads[status][0]")]
    rules = ("77:142=sold", "78:142=delivered")
    first = accepted("amocrm", [*fields("leads[status][0]"), *ACCOUNT], rules=rules).event_ids
    second = accepted("amocrm", [*sold, *ACCOUNT], rules=rules).event_ids
    assert len({*first, *second}) == 2
