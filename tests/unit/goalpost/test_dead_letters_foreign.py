"""Letters, marks and runs that goalpost did not write: they are looked at, never followed into harm."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from goalpost.dead_letters.journal import Fate, Journal, mark, run_record
from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.masking import as_json, masked_body
from goalpost.dead_letters.plan import Action, Blocked, Failed, Limits, Republish, action_for
from goalpost.dead_letters.remake import remade, sent_back
from goalpost.dead_letters.running import begun
from goalpost.moment import iso
from schemas.fitting import fits
from schemas.history import believed
from schemas.records import Headers, Incoming, Outgoing
from schemas.topics import DEAD_LETTERS, RECORD_LIMIT_BYTES, REPLAYS, TOPICS, WAITING
from tests.unit.schemas.examples import examples, letter_record

LIMITS = Limits(max_replays=3)
LETTER = letter_record(next(example for example in examples("good_") if example.topic == "crm.events.raw.dlq"))


def _with(record: Incoming, **headers: bytes) -> Incoming:
    changed = {name.replace("_", "."): value for name, value in headers.items()}
    kept = tuple(pair for pair in record.headers if pair[0] not in changed)
    return replace(record, headers=(*kept, *changed.items()))


def _decide(record: Incoming) -> Action:
    return action_for(letter_of(record), row=None, fate=None, limits=LIMITS, now_ms=1)


@pytest.mark.parametrize("origin", [topic.name for topic in TOPICS] + ["unknown", "orders", "x" * 5000, ""])
@pytest.mark.parametrize("stands_in", [topic.name for topic in DEAD_LETTERS])
def test_a_letter_goes_back_only_to_the_topic_whose_letters_stand_where_it_does(stands_in: str, origin: str) -> None:
    record = replace(_with(LETTER, dlq_original_topic=origin.encode()), topic=stands_in)
    decided = _decide(record)

    assert isinstance(decided, Republish) == (stands_in == f"{origin}.dlq" and origin != "goalpost.webhooks")


def test_a_letter_whose_value_was_too_large_says_where_the_record_stands() -> None:
    decided = _decide(_with(LETTER, dlq_cut=b"value"))

    assert isinstance(decided, Blocked)
    assert "its value was too large to be kept" in decided.why
    assert letter_of(LETTER).origin in decided.why


@pytest.mark.parametrize("name", ["dlq.id", "event_id", "webhook_id", "dlq.replay.run.id", "dlq.original.topic"])
def test_a_name_of_a_megabyte_is_no_name(name: str) -> None:
    letter = letter_of(_with(LETTER, **{name: b"x" * 1_000_000}))

    assert max(len(text) for text in (letter.letter_id, letter.event_id, letter.webhook_id, letter.run_id)) < 300
    assert len(letter.origin_topic) < 300
    assert letter.identity
    assert fits(mark(letter.identity, Fate.DISCARDED, event_id=letter.event_id, run_id="r"))


@pytest.mark.parametrize("count", [b"9" * 5000, b"-4", b"\xff", b"", "\u0663".encode()])
def test_a_counter_that_cannot_be_read_counts_nothing(count: bytes) -> None:
    record = _with(LETTER, dlq_replay_count=count, dlq_attempts=count, dlq_original_timestamp=count)
    back = sent_back(letter_of(record), run_id="r")

    assert letter_of(record).replays == 0
    assert letter_of(record).origin_ms == record.timestamp
    assert dict(back.headers)["dlq.replay.count"] == b"1"


def test_what_goes_back_is_believed_where_it_arrives() -> None:
    for record in (LETTER, _with(LETTER, dlq_original_topic=WAITING.name.encode())):
        made = remade(letter_of(record), run_id="r", fix=None, parse=lambda *_: ())
        assert not isinstance(made, Failed)
        (back,) = made if isinstance(made, tuple) else ()
        arrived = Incoming(
            topic=back.topic,
            partition=0,
            offset=9,
            timestamp=1,
            key=back.key,
            value=back.value,
            headers=back.headers,
        )
        assert believed(arrived)["dlq.replay.run.id"] == "r"
        assert believed(arrived)["dlq.original.topic"] == back.topic


def test_a_letter_that_a_replay_makes_too_large_fails_alone() -> None:
    record = replace(LETTER, value=b"v" * (RECORD_LIMIT_BYTES - 900))

    made = remade(letter_of(record), run_id="r" * 40, fix=None, parse=lambda *_: ())

    assert made == Failed(why="with what a replay adds, it is larger than a record can be")


def _in_journal(key: bytes | None, value: bytes | None, headers: Headers = ()) -> Incoming:
    return Incoming(topic=REPLAYS.name, partition=0, offset=0, timestamp=1, key=key, value=value, headers=headers)


def _read(record: Outgoing) -> Incoming:
    return _in_journal(record.key, record.value, record.headers)


@pytest.mark.parametrize(
    "value", [None, b"", b"burnt", b"REPLAYED", b"replayed ", b"\xff", b"9" * 5000, b"x" * 3_000_000]
)
def test_a_mark_that_no_run_writes_leaves_the_letter_as_it_is(value: bytes | None) -> None:
    before = _read(mark("letter", Fate.FIXED, event_id="", run_id=""))

    journal = Journal([before, _in_journal(b"letter", value), _in_journal(None, b"replayed")])

    assert journal.fate("letter") is Fate.FIXED
    assert journal.fate("") is None


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{", b"[]", b"null", b"1", b"\xff", b'{"run_id": "1"}', b"[" * 100_000, b'{"a":' * 100_000),
        b'{"run_id": "2", "by": "b", "started_at": "s", "selection": "s"}',
        b'{"run_id": "1", "by": 1, "started_at": [], "selection": {}}',
        b'{"run_id": "1", "by": "b", "started_at": "s", "selection": "s", "counts": {"a": ' + b"9" * 5000 + b"}}",
        b'{"run_id": "1", "by": "' + b"b" * 1_000_000 + b'", "started_at": "s", "selection": "s"}',
    ],
)
def test_a_run_that_nobody_ran_is_not_listed(value: bytes | None) -> None:
    good = begun("replay", "everything")

    assert Journal([_in_journal(b"run:1", value), _read(run_record(good))]).runs == (good,)


def test_a_run_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    run = begun("replay", "everything")
    record = run_record(run)
    later = json.dumps({**json.loads(record.value or b""), "tomorrow": [1]}).encode()

    assert Journal([_in_journal(record.key, later)]).runs == (run,)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500, b"1" * 5000, b"[[1"])
def test_json_that_is_nested_beyond_use_is_no_json(body: bytes) -> None:
    assert as_json(body) is None


def test_json_of_some_depth_is_shown() -> None:
    assert masked_body(as_json(b"[" * 50 + b"]" * 50) or [])


@pytest.mark.parametrize("at", [-1, 0, 2**63 - 1, -(2**63), 253_402_300_800_000, -62_135_596_800_001])
def test_any_time_can_be_said(at: int) -> None:
    assert iso(at)
    assert letter_of(replace(LETTER, timestamp=at)).day


def test_a_letter_with_megabytes_of_headers_is_read_in_a_moment() -> None:
    record = replace(LETTER, headers=(*LETTER.headers, *((f"dlq.{number}", b"x") for number in range(200_000))))
    began = time.process_time()
    letter_of(record)

    assert time.process_time() - began < 1
