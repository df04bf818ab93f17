"""Every golden example is what it says it is."""

from __future__ import annotations

import pytest

from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.plan import Limits, RowState, action_for
from goalpost.dead_letters.progress import line_of
from goalpost.dead_letters.replay import Decided
from schemas import codec
from schemas.events import Conversion, Outcome, RawEvent, Session, Webhook
from schemas.identity import deal_key, event_key, session_key, visitor_key
from schemas.topics import QUARANTINE, REPLAYS, TOPICS, UNFETCHED
from tests.unit.schemas.examples import (
    FOLDER,
    Example,
    codec_of,
    contract_of,
    examples,
    has_schema,
    letter_record,
    record_of,
)

# The replay journal and what did not authenticate are goalpost's own; nobody else reads them.
CONTRACTED = [topic for topic in TOPICS if topic not in (REPLAYS, QUARANTINE)]
GOOD = [example for example in examples("good_") if has_schema(example)]
BAD = [example for example in examples("bad_") if has_schema(example)]
LETTERS = [example for example in examples("") if not has_schema(example)]


def test_every_topic_has_a_good_and_a_bad_example() -> None:
    for topic in CONTRACTED:
        names = {path.name.partition("_")[0] for path in (FOLDER / topic.name).glob("*.json")}
        assert names == {"good", "bad"}, topic.name


def test_no_folder_is_left_of_a_topic_that_is_gone() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == {topic.name for topic in CONTRACTED}


@pytest.mark.parametrize("example", GOOD, ids=str)
def test_a_good_example_survives_the_codec(example: Example) -> None:
    record = record_of(example)
    wire = codec_of(contract_of(example.topic))

    assert wire.decode(wire.encode(record)) == record


@pytest.mark.parametrize("example", GOOD, ids=str)
def test_a_good_example_names_every_field(example: Example) -> None:
    assert set(example.content["record"]) == set(contract_of(example.topic).record_type.__slots__)


@pytest.mark.parametrize("example", GOOD, ids=str)
def test_a_good_example_has_the_key_of_its_topic(example: Example) -> None:
    key = example.content["key"].encode()
    match record_of(example):
        case RawEvent() as event:
            assert key == (deal_key(event) if example.topic == UNFETCHED.name else event_key(event))
        case Session() as session:
            keys = {session_key(session.session_id)} | {visitor_key(session.ym_uid or "")}
            assert key in keys
            assert session.analytics_data is None or key == session_key(session.session_id)
        case Conversion() as conversion:
            visitor = visitor_key(conversion.client_id or "")
            assert key == (session_key(conversion.session_id) if conversion.session_id else visitor)
        case Outcome() as outcome:
            assert key == outcome.event_id.encode()
        case Webhook() as webhook:
            assert key == webhook.webhook_id.encode()
        case other:
            pytest.fail(f"{type(other)} has no rule for its key")


@pytest.mark.parametrize("example", BAD, ids=str)
def test_a_bad_example_is_refused_for_the_reason_it_names(example: Example) -> None:
    error = getattr(codec, example.content["error"])

    with pytest.raises(error, match=example.content["reason"]) as refused:
        codec_of(contract_of(example.topic)).decode(bytes.fromhex(example.content["hex"]))

    assert type(refused.value) is error


@pytest.mark.parametrize("example", LETTERS, ids=str)
def test_a_letter_is_read_and_replayed_as_its_example_says(example: Example) -> None:
    letter = letter_of(letter_record(example))
    row = RowState(event_id=letter.event_id, stage="failed", deadline_ms=None) if letter.effects_done else None

    action = action_for(letter, row=row, fate=None, limits=Limits(max_replays=3), now_ms=0)

    found = {"error_class": letter.error_class, "action": line_of(Decided(letter=letter, action=action)).action}
    assert found == example.content["expect"]
