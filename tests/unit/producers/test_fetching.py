"""Reading deals: what is asked, what a deal means, and that no note is forgotten or held up by another portal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import producers.fetching.portal
from producers.dialects.outcome import Ignored, Reported, Unidentified
from producers.directory import Entry, index_of
from producers.fetching.deals import conversion_of
from producers.fetching.fetcher import Fetcher
from producers.fetching.notes import REQUEST_SECONDS, Note, Notes
from producers.fetching.portal import Found, Portal, PortalBusy
from runtime.lifecycle import Heartbeat, Stop
from runtime.vault import Vault, generate_key
from schemas.events import GoalRule, RawEvent, Webhook
from schemas.records import Incoming, Outgoing, header
from schemas.topics import UNFETCHED
from tests.bitrix24_portal import SECRET, Bitrix24, bitrix24
from tests.registry_double import drips, registry_double
from tests.unit.producers.parts import RAW_CODEC

DEAL: dict[str, Any] = {
    "ID": "410",
    "TITLE": "New Deal #1",
    "STAGE_ID": "C2:WON",
    "STAGE_SEMANTIC_ID": "S",
    "CURRENCY_ID": "EUR",
    "OPPORTUNITY": "1000000.00",
    "MOVED_TIME": "2024-08-30T14:29:00+02:00",
    "UF_CRM_YMCLIENTID": " 1666707227246044402 ",
}
RECEIVED_AT = 1_767_225_600_000


def _webhook(*, rules: tuple[GoalRule, ...] = (), fields: dict[str, str] | None = None) -> Webhook:
    return Webhook(
        webhook_id="6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11",
        counter_id="0b8a4c9e-7d55-4a8e-8f3e-5a1d2c3b4e5f",
        metrika_counter_id=1,
        name="portal",
        dialect="bitrix24_event",
        secret_hashes=(),
        sealed_secrets=(),
        default_goal="crm_conversion",
        changed_at=0,
        rules=rules,
        fields=fields or {},
    )


def _event(deal: str = "410", webhook_id: str = "a") -> RawEvent:
    return RawEvent(
        event_id="e",
        webhook_id=webhook_id,
        dialect="bitrix24_event",
        received_at=RECEIVED_AT,
        occurred_at=RECEIVED_AT,
        order_id=deal,
    )


def _note(offset: int, deal: str = "410", webhook_id: str = "a") -> Note:
    record = Incoming(topic="t", partition=0, offset=offset, timestamp=0, key=None, value=None, headers=())
    return Note(record=record, event=_event(deal, webhook_id))


def _taken(*notes: Note) -> Notes:
    taken = Notes(limit=1000)
    for note in notes:
        taken.seen(note.record.offset)
        taken.add(note)
    return taken


@pytest.fixture
def crm() -> Iterator[Bitrix24]:
    with bitrix24() as served:
        yield served


@pytest.fixture
def portal(crm: Bitrix24) -> Iterator[Portal]:
    with requests.Session() as session:
        yield Portal(crm.address, session)


def test_a_won_deal_is_a_conversion_of_the_moment_it_was_moved() -> None:
    found = conversion_of(DEAL, _event(), _webhook())

    assert isinstance(found, Reported)
    assert (found.order_id, found.ym_uid, found.goal_value) == ("410", "1666707227246044402", Decimal(1000000))
    assert (found.currency, found.stage, found.occurred_at) == ("EUR", "C2:WON", 1_725_020_940_000)
    assert found.key == "deal:410:C2:WON:2024-08-30T14:29:00+02:00"


def test_a_deal_that_is_saved_again_is_the_same_event_and_one_that_moved_is_another() -> None:
    saved = conversion_of({**DEAL, "TITLE": "renamed"}, _event(), _webhook())
    moved = conversion_of({**DEAL, "MOVED_TIME": "2024-09-01T10:00:00+02:00"}, _event(), _webhook())
    first = conversion_of(DEAL, _event(), _webhook())

    assert isinstance(first, Reported)
    assert isinstance(saved, Reported)
    assert isinstance(moved, Reported)
    assert saved.key == first.key != moved.key


def test_without_rules_only_won_deals_count() -> None:
    assert conversion_of({**DEAL, "STAGE_SEMANTIC_ID": "P"}, _event(), _webhook()) is Ignored.OTHER_STAGE


def test_with_rules_exactly_their_stages_count() -> None:
    webhook = _webhook(rules=(GoalRule(stage="PREPARATION", goal="lead"),))

    assert isinstance(conversion_of({**DEAL, "STAGE_ID": "PREPARATION"}, _event(), webhook), Reported)
    assert conversion_of(DEAL, _event(), webhook) is Ignored.OTHER_STAGE


def test_a_deal_of_nobody_is_told_apart_from_one_that_does_not_count() -> None:
    assert isinstance(conversion_of({**DEAL, "UF_CRM_YMCLIENTID": None}, _event(), _webhook()), Unidentified)


def test_the_visitors_field_is_where_the_webhook_says() -> None:
    deal = {**DEAL, "UF_CRM_YMCLIENTID": None, "UF_CRM_17": "1744296311369635550"}
    found = conversion_of(deal, _event(), _webhook(fields={"ym_uid": "UF_CRM_17"}))

    assert isinstance(found, Reported)
    assert found.ym_uid == "1744296311369635550"


def test_a_batch_tells_found_deals_from_missing_ones(crm: Bitrix24, portal: Portal) -> None:
    crm.deals["410"] = DEAL

    found = portal.deals(["410", "999"])

    assert found.deals == {"410": DEAL}
    assert found.missing == {"999": "not found"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((503, {"error": "QUERY_LIMIT_EXCEEDED"}), "fewer requests"),
        ((429, {"error": "OPERATION_TIME_LIMIT"}), "time for this method"),
        ((401, {"error": "INVALID_CREDENTIALS"}), "inbound webhook"),
        ((500, b"<html>"), "without JSON"),
        ((200, {"result": []}), "no result"),
        ((200, {"result": {"result": [], "result_error": []}}), "none of the deals"),
        ((200, {"result": {"result": [], "result_error": {"d410": {"error": "QUERY_LIMIT_EXCEEDED"}}}}), "none of the"),
    ],
)
def test_an_answer_that_says_nothing_of_a_deal_is_no_answer(
    crm: Bitrix24, portal: Portal, fault: tuple[int, Any], said: str
) -> None:
    crm.faults.append(fault)
    with pytest.raises(PortalBusy, match=said):
        portal.deals(["410"])


def test_the_portals_secret_is_in_no_error() -> None:
    with requests.Session() as session, pytest.raises(PortalBusy) as refused:
        Portal(f"http://127.0.0.1:9/rest/1/{SECRET}/", session).deals(["1"])

    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_one_look_at_a_deal_answers_all_notes_of_it() -> None:
    notes = _taken(_note(0), _note(1), _note(2, deal="7"))

    batch = notes.next_batch(0.0, limit=50)

    assert [(note.deal, note.record.offset) for note in batch] == [("410", 1), ("7", 2)]
    notes.done(batch)
    assert notes.committable() == 3


def test_a_note_that_came_after_the_look_is_looked_at_again() -> None:
    notes = _taken(_note(0))
    batch = notes.next_batch(0.0, limit=50)
    notes.seen(1)
    notes.add(_note(1))
    notes.done(batch)

    assert notes.committable() == 1
    assert [note.record.offset for note in notes.next_batch(9.0, limit=50)] == [1]


def test_a_portal_that_rests_does_not_hold_up_another() -> None:
    notes = _taken(_note(0, webhook_id="down"), _note(1, webhook_id="up"))
    notes.rest("down", 100.0)

    batch = notes.next_batch(1.0, limit=50)
    assert [note.event.webhook_id for note in batch] == ["up"]
    notes.done(batch)

    assert notes.next_batch(1.0, limit=50) == []
    assert notes.committable() == 0
    assert notes.next_due() == 100.0


def test_a_portal_is_asked_twice_a_second_at_most() -> None:
    notes = _taken(*(_note(offset, deal=str(offset)) for offset in range(3)))

    assert len(notes.next_batch(0.0, limit=1)) == 1
    assert notes.next_batch(REQUEST_SECONDS - 0.01, limit=1) == []
    assert len(notes.next_batch(REQUEST_SECONDS, limit=1)) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("12"), st.booleans())))
def test_nothing_is_committed_before_everything_below_is_done(told: list[tuple[str, str, bool]]) -> None:
    notes = Notes(limit=1000)
    unfinished: dict[int, tuple[str, str]] = {}
    now = 0.0
    for offset, (webhook_id, deal, finish) in enumerate(told):
        notes.seen(offset)
        notes.add(_note(offset, deal=deal, webhook_id=webhook_id))
        unfinished[offset] = (webhook_id, deal)
        now += REQUEST_SECONDS
        if finish:
            batch = notes.next_batch(now, limit=1)
            notes.done(batch)
            covered = {(note.event.webhook_id, note.deal) for note in batch}
            unfinished = {place: what for place, what in unfinished.items() if what not in covered}
        assert notes.committable() == min(unfinished, default=offset + 1)


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"result": ' * 200_000, b"\0" * 1000, b"\xff", b"9" * 5000, b"x" * 17_000_000]
)
def test_an_answer_of_any_size_or_depth_is_no_answer(crm: Bitrix24, portal: Portal, body: bytes) -> None:
    crm.faults.append((200, body))
    with pytest.raises(PortalBusy):
        portal.deals(["410"])


def test_an_answer_that_drips_is_given_up(crm: Bitrix24, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers.fetching.portal, "_ANSWER_SECONDS", 0.3)
    slowly = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", pause=0.02)
    with registry_double(slowly) as server, requests.Session() as session, pytest.raises(PortalBusy, match="0 s"):
        Portal(server.url, session).deals(["410"])


def test_large_notes_are_full_before_they_are_many() -> None:
    notes = Notes(limit=1000, limit_bytes=2_000_000)
    for offset in range(2):
        assert not notes.full
        notes.seen(offset)
        large = replace(_note(offset).record, value=b"x" * 1_000_000)
        notes.add(Note(record=large, event=_event(str(offset))))
    assert notes.full

    notes.done(notes.next_batch(0.0, limit=1))

    assert not notes.full


def _fetcher(sent: list[Outgoing], found: Found) -> Fetcher:
    class Known:
        def deals(self, _numbers: Iterable[str]) -> Found:
            return found

    vault = Vault(generate_key())
    known = replace(_webhook(), sealed_fetch_url=vault.seal("http://portal"))
    return Fetcher(
        cast(Any, None),
        cast(Any, SimpleNamespace(send=sent.extend)),
        notes=RAW_CODEC,
        events=RAW_CODEC,
        vault=vault,
        webhooks=lambda: index_of([Entry(webhook=known)]),
        portal_at=lambda _: cast(Portal, Known()),
        stop=Stop(),
        heartbeat=Heartbeat(),
    )


def _message(event: RawEvent) -> Any:
    return SimpleNamespace(
        error=lambda: None,
        topic=lambda: UNFETCHED.name,
        partition=lambda: 0,
        offset=lambda: 1,
        timestamp=lambda: (1, 0),
        key=lambda: b"k",
        value=lambda: RAW_CODEC.encode(event),
        headers=lambda: [],
    )


@pytest.mark.parametrize("number", [None, "", "-1", "1&x=2", "\u0663", "\u00b2", "9" * 5000, "1; halt", "$result[d1]"])
def test_a_note_says_nothing_to_a_portal_but_a_number(number: str | None) -> None:
    letter = _fetcher([], Found(deals={}, missing={}))._take(_message(replace(_event(), order_id=number)))

    assert letter is not None
    assert header(letter.headers, "dlq.error.class") == "event_invalid"


KEPT = ("crm.events.unfetched.dlq", "crm.events.raw", "crm.events.ignored")


@pytest.mark.parametrize(
    "deal",
    [
        {"ID": "410", "STAGE_SEMANTIC_ID": "S", "STAGE_ID": "\ud800", "UF_CRM_YMCLIENTID": "1666707227246044402"},
        {"ID": {}, "STAGE_SEMANTIC_ID": "S", "MOVED_TIME": [[]], "UF_CRM_YMCLIENTID": {"a": 1}},
        {"ID": "\udfff", "STAGE_SEMANTIC_ID": "S", "OPPORTUNITY": "9" * 5000, "UF_CRM_YMCLIENTID": "1"},
        {"ID": 1e308, "STAGE_SEMANTIC_ID": ["S"], "CURRENCY_ID": "\0"},
    ],
)
def test_a_deal_that_cannot_be_read_is_kept(deal: dict[str, Any]) -> None:
    sent: list[Outgoing] = []
    fetcher = _fetcher(sent, Found(deals={"410": deal}, missing={}))
    webhook_id = _webhook().webhook_id
    assert fetcher._take(_message(replace(_event(webhook_id=webhook_id), received_at=2**63 - 1))) is None

    fetcher._fetch()

    assert all(record.topic in KEPT for record in sent)


def test_a_note_of_any_making_is_answered_once() -> None:
    sent: list[Outgoing] = []
    fetcher = _fetcher(sent, Found(deals={"410": {**DEAL, "STAGE_ID": "\ud800"}}, missing={}))
    assert fetcher._take(_message(_event(webhook_id=_webhook().webhook_id))) is None

    fetcher._fetch()
    fetcher._fetch()

    assert [header(record.headers, "dlq.error.class") for record in sent] == ["event_invalid"]
