"""Whatever stands in a topic ends as a dead letter or is ignored: for every process and command that reads one.

The table at the end names the readers of each topic; a topic without a line fails a test, and so does any reader that
raises anything at all for a record that Kafka takes.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, Final, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goalpost.balance.scanning import Scan
from goalpost.balance.sightings import Sighting, Sightings
from goalpost.dead_letters import view
from goalpost.dead_letters.bodies import Parser
from goalpost.dead_letters.journal import Fate, Journal, mark, run_record
from goalpost.dead_letters.letter import Selection, letter_of
from goalpost.dead_letters.plan import Limits, action_for, needs_row
from goalpost.dead_letters.progress import line_of
from goalpost.dead_letters.reading import Decoder
from goalpost.dead_letters.remake import remade
from goalpost.dead_letters.replay import Planner
from goalpost.dead_letters.running import begun
from goalpost.lineage.question import question
from goalpost.lineage.reading import Decoder as TraceDecoder
from goalpost.lineage.reading import Topics, Wanted
from goalpost.lineage.way import event_id_of, way_of
from goalpost.moment import iso
from goalpost.quarantine.checking import checked
from goalpost.quarantine.commands import _show
from goalpost.retention.visitor import Visitor, find, traces
from goalpost.topics.reading import _decoder, _envelope
from goalpost.webhooks.published import configurations
from producers.dialects.outcome import Ignored
from producers.directory import index_of
from producers.fetching.fetcher import Fetcher
from producers.follower import DirectoryFollower
from producers.quarantine import Suspect, record_of
from producers.raw_events import delivery_of, ignored_record
from runtime.attention import Attention
from runtime.lifecycle import Heartbeat, Stop
from runtime.registry import Registry
from runtime.vault import Vault, generate_key
from schemas.codec import Codec, Undecodable, UnknownSchemaId
from schemas.contracts import CONTRACTS, RAW_EVENTS, UNFETCHED_EVENTS, WEBHOOK_CONFIGURATIONS, Contract
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import RawEvent, Webhook
from schemas.fitting import fits
from schemas.identity import session_key
from schemas.records import Incoming, Outgoing
from schemas.topics import (
    CONVERSIONS,
    DEAD_LETTERS,
    IGNORED,
    OUTCOMES,
    QUARANTINE,
    RAW,
    REJECTED,
    REPLAYS,
    SESSIONS,
    TOPICS,
    UNFETCHED,
    WAITING,
    WEBHOOKS,
)
from sinks.letters import letter_of as letter_of_refused
from sinks.letters import undecodable
from sinks.postgres.rows import PlacedConversion, staged_row
from sinks.postgres.sink import PostgresSink
from streams.sessions import unpack
from streams.state.ingest import ingested
from streams.waiting import first_ticket, waiting_record
from streams.webhooks import Webhooks
from tests import hostile
from tests.unit.streams.builders import NOW, RAW_CODEC, SESSION_CODEC, Known, event, joining, raw_record, session
from tests.unit.streams.builders import webhook as configured

_VAULT: Final = Vault(generate_key())
_LETTER_TOPICS: Final = (REJECTED.name, *(topic.name for topic in DEAD_LETTERS))

Reader = Callable[[Incoming], None]


class _Registry:
    """Knows the schemas of this code under the ids that the golden records use, and none else."""

    def schema(self, schema_id: int) -> str:
        """There is no foreign schema."""
        raise UnknownSchemaId(schema_id)

    def codec(self, contract: Contract[Any]) -> Codec[Any]:
        """The codec of a topic."""
        return contract.codec(schema_id=7, foreign_schema=self.schema)


REGISTRY: Final = cast(Registry, _Registry())
CODECS: Final[Mapping[str, Codec[Any]]] = {contract.topic.name: REGISTRY.codec(contract) for contract in CONTRACTS}
WEBHOOK: Final[Webhook] = configured()

_EVENT: Final = event(session_id="s-1", order_id="410")
_RAW: Final = raw_record(_EVENT)
_SESSION: Final = session("s-1", ym_uid="1", analytics_data="{}")
_CONVERSION: Final = joining().run([_RAW], Known({session_key("s-1"): _SESSION}))[0]
_REASON: Final = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="no session")


def _letter(topic: str) -> Outgoing:
    return letter_for(_RAW, _REASON, topic=topic, now_ms=NOW, letter_id=uuid.UUID(int=7))


def _out(topic: str, key: bytes, value: bytes | None) -> Outgoing:
    return Outgoing(topic=topic, key=key, value=value, headers=_RAW.headers)


_SUSPECT: Final = Suspect(
    webhook_id=WEBHOOK.webhook_id,
    received_at=NOW,
    body=b'{"session_id": "s1"}',
    headers={b"webhook-id": b"m", b"webhook-timestamp": b"1790000000", b"webhook-signature": b"v1,x"},
    content_type="application/json",
    query="a=1",
    key="k",
    shown_hashes=("h",),
)
# What stands in each topic when all is well.
GOOD: Final[Mapping[str, tuple[Incoming | Outgoing, ...]]] = {
    RAW.name: (_RAW,),
    UNFETCHED.name: (_out(UNFETCHED.name, b"d:1", RAW_CODEC.encode(_EVENT)),),
    SESSIONS.name: tuple(_out(SESSIONS.name, key, SESSION_CODEC.encode(_SESSION)) for key in (b"s:s-1", b"u:1")),
    CONVERSIONS.name: (_CONVERSION,),
    WAITING.name: (waiting_record(_RAW, first_ticket(_RAW, now=NOW, due=NOW)),),
    OUTCOMES.name: (),
    REJECTED.name: (replace(_letter(REJECTED.name), value=b'{"session_id": "s1"}', key=WEBHOOK.webhook_id.encode()),),
    QUARANTINE.name: (record_of(_SUSPECT),),
    IGNORED.name: (ignored_record(delivery_of(_EVENT), (Ignored.OTHER_STAGE,), stage="143"),),
    WEBHOOKS.name: (_out(WEBHOOKS.name, WEBHOOK.webhook_id.encode(), CODECS[WEBHOOKS.name].encode(WEBHOOK)),),
    **{topic.name: (_letter(topic.name),) for topic in DEAD_LETTERS},
    REPLAYS.name: (
        mark("crm.events.raw.dlq:0:0", Fate.REPLAYED, event_id="e", run_id="r"),
        run_record(begun("replay", "everything")),
    ),
}


# -- processes -------------------------------------------------------------------------------------------------------


def _join_events(record: Incoming) -> None:
    written = joining().run([record, replace(_RAW, offset=record.offset + 1)], Known({b"s:s-1": _SESSION}))

    assert len(written) == 2
    assert all(map(fits, written))
    assert CONVERSIONS.name in {one.topic for one in written}  # the good one went its way


def _join_waiting(record: Incoming) -> None:
    written = joining().due([record], Known())

    assert written
    assert all(map(fits, written))


def _follow_state(record: Incoming) -> None:
    stored = _Stored()
    before = Incoming(**{**_as_read(GOOD[WAITING.name][0]), "offset": max(0, record.offset - 1)})
    for batch in ([before], [record], [record]):
        ingest = ingested(batch, stored, SESSION_CODEC.decode, now=NOW)
        assert all(map(fits, ingest.letters))
        stored.values |= ingest.changes
    for key, value in stored.values.items():
        if value is not None and key.startswith((b"s:", b"u:")):
            unpack(value)


class _Stored:
    """What a partition's state holds."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What stands under each key."""
        return [self.values.get(key) for key in keys]


def _as_read(record: Incoming | Outgoing) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": 0,
        "timestamp": NOW,
        "key": record.key,
        "value": record.value,
        "headers": record.headers,
    }


def _postgres_sink(record: Incoming) -> None:
    sink = PostgresSink(_no_connection, REGISTRY)
    try:
        content = sink.decode(record)
    except Undecodable as problem:
        letter = letter_of_refused(undecodable(record, problem), now_ms=NOW, group="g")
        assert fits(letter)
        return
    if record.topic == CONVERSIONS.name:
        assert content is not None
        staged_row(PlacedConversion(conversion=cast(Any, content), partition=0, offset=1), goal_appended=False)


def _no_connection() -> Any:
    raise AssertionError("decoding asks nobody")


class _Message:
    """As much of a consumed message as is read."""

    error = staticmethod(lambda: None)

    def __init__(self, record: Incoming) -> None:
        self.topic = lambda: record.topic
        self.partition = lambda: record.partition
        self.offset = lambda: record.offset
        self.timestamp = lambda: (1, record.timestamp)
        self.key = lambda: record.key
        self.value = lambda: record.value
        self.headers = lambda: list(record.headers)


def _fetch(record: Incoming) -> None:
    fetcher = Fetcher(
        cast(Any, None),
        cast(Any, None),
        notes=CODECS[UNFETCHED.name],
        events=CODECS[RAW.name],
        vault=_VAULT,
        webhooks=lambda: index_of([]),
        portal_at=cast(Any, None),
        stop=Stop(),
        heartbeat=Heartbeat(),
    )
    letter = fetcher._take(cast(Any, _Message(record)))
    assert letter is None or fits(letter)


def _door(record: Incoming) -> None:
    codec = CODECS[WEBHOOKS.name]
    follower = _follower(codec)
    follower._apply(record)
    index_of(follower._entries.values())


def _follower(codec: Codec[Webhook]) -> DirectoryFollower:
    nothing = cast(Any, None)
    return DirectoryFollower(nothing, codec, _VAULT, log=nothing, attention=Attention(), on_failure=_raised)


def _raised(failure: Exception) -> None:
    raise failure


def _stream_webhooks(record: Incoming) -> None:
    nothing = cast(Any, None)
    webhooks = Webhooks(nothing, decode=CODECS[WEBHOOKS.name].decode, patience=nothing, last_known=nothing)
    webhooks.take(record)
    for known in webhooks.known().values():
        joining(hook=known).run([raw_record(event(webhook_id=known.webhook_id, session_id="s-1"))], Known())


# -- commands --------------------------------------------------------------------------------------------------------


def _topics_read(record: Incoming) -> None:
    json.dumps({**_envelope(record), **_shown_by(record.topic)(record)})


@cache
def _shown_by(topic: str) -> Callable[[Incoming], dict[str, Any]]:
    has_schema = topic in CODECS
    return _decoder(cast(Any, _KnowsAll(topic)) if has_schema else REGISTRY, has_schema=has_schema)


class _KnowsAll:
    """A registry with one schema under every id."""

    def __init__(self, topic: str) -> None:
        self._text = next(contract.schema_text for contract in CONTRACTS if contract.topic.name == topic)

    def schema(self, _schema_id: int) -> str:
        """The schema."""
        return self._text


def _trace(record: Incoming) -> None:
    topics = _OneRecord(record)
    order = Wanted(question("410"), ["x"], TraceDecoder(REGISTRY), by_value=True)
    grouped = topics.by_event([record.topic], order.event_of, since_ms=0)
    topics.by_event([record.topic], event_id_of, since_ms=0)
    topics.marks(["x"], {"l": "x"}, since_ms=0)
    topics.letter([record.topic], "l", since_ms=0)
    for event_id, found in {**grouped, "x": [record]}.items():
        way = way_of(event_id, row=None, records=found, replayed=[record])
        [iso(step.at) for step in way.steps]


class _OneRecord(Topics):
    """Kafka with one record."""

    def __init__(self, record: Incoming) -> None:
        super().__init__("", until=float("inf"))
        self._record = record

    def read(self, topics: Iterable[str], *, since_ms: int) -> Iterator[Incoming]:
        """Yield it."""
        del topics, since_ms
        yield self._record


def _ledger(record: Incoming) -> None:
    scan = object.__new__(Scan)  # without the cluster that it begins with
    sightings = Sightings()
    scan._sightings, scan._joined, scan._stored = sightings, {}, {}
    journal = Journal()
    looks: Mapping[str, Callable[[Incoming], Sighting | None]] = {
        RAW.name: scan._raw,
        WAITING.name: scan._waiting,
        CONVERSIONS.name: scan._conversion,
    }
    look = looks.get(record.topic)
    sighted = scan._letter(record, journal) if look is None else look(record)
    sightings.see([] if sighted is None else [sighted])
    sightings.totals(recent_ms=NOW)


def _erase(record: Incoming) -> None:
    known = Visitor(ym_uids=frozenset({"1"}), session_ids=frozenset({"s-1"}))
    visitor = find(lambda: [record], SESSION_CODEC, known)
    found = traces(lambda topic: [record] if topic == record.topic else [], visitor)
    [iso(at) for at in found.gone_by_ms.values()]


def _dlq(record: Incoming) -> None:
    letter = letter_of(record)
    view.group_of(letter)
    selection = Selection(ids=frozenset({"x"}), keys=frozenset({"s:1"}), headers=frozenset({("dlq.stage", "join")}))
    selection.includes(letter)
    fields = Decoder(REGISTRY)(record)
    for reveal in (False, True):
        content = view.letter_content(letter, fields, reveal=reveal)
        json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    parser = Parser(webhook=lambda _: WEBHOOK, codec=lambda: CODECS[RAW.name])
    planner = Planner(
        journal=Journal(),
        rows=cast(Any, _NoRows()),
        remake=lambda one: remade(one, run_id="r", fix=None, parse=parser),
        limits=Limits(max_replays=3),
        now_ms=NOW,
    )
    for chunk in planner.planned([letter]):
        for decided in chunk:
            line_of(decided)
            for sent in decided.records:
                assert fits(sent)
                assert sent.topic in {topic.name for topic in TOPICS}
                assert f"{sent.topic}.dlq" == record.topic or sent.topic == RAW.name
    action_for(letter, row=None, fate=None, limits=Limits(max_replays=10**6), now_ms=NOW)
    given_up = mark(letter.identity, Fate.DISCARDED, event_id=letter.event_id, run_id="r")
    assert fits(given_up)
    needs_row(letter)


class _NoRows:
    """Postgres has none."""

    def states(self, _event_ids: Any) -> dict[str, Any]:
        """None."""
        return {}


def _journal(record: Incoming) -> None:
    found = Journal([record])
    found.fate((record.key or b"").decode("utf-8", "replace"))
    view.show_runs(found.runs)


def _quarantine(record: Incoming) -> None:
    entry = _follower(CODECS[WEBHOOKS.name])._entry(WEBHOOK)
    found = checked(record, index_of([entry]), cast(Codec[RawEvent], CODECS[RAW.name]))
    assert all(map(fits, found.records))
    for as_json in (False, True):
        _show([found], as_json=as_json, done=False)


def _configurations(record: Incoming) -> None:
    refused: Counter[str] = Counter()
    configurations([record], CODECS[WEBHOOKS.name], refused=lambda _, problem: refused.update([problem.reason]))


_OF_EVENTS: Final[Sequence[Reader]] = (_topics_read, _trace, _ledger)
READERS: Final[Mapping[str, Sequence[Reader]]] = {
    RAW.name: (_join_events, _erase, *_OF_EVENTS),
    UNFETCHED.name: (_fetch, _topics_read, _erase),
    SESSIONS.name: (_follow_state, _postgres_sink, _topics_read, _erase),
    CONVERSIONS.name: (_postgres_sink, _erase, *_OF_EVENTS),
    WAITING.name: (_follow_state, _join_waiting, _erase, *_OF_EVENTS),
    OUTCOMES.name: (_topics_read, _erase),
    REJECTED.name: (_dlq, _erase, _topics_read, _trace),
    QUARANTINE.name: (_quarantine, _topics_read, _erase),
    IGNORED.name: (_dlq, _erase, _topics_read),
    WEBHOOKS.name: (_door, _stream_webhooks, _configurations, _topics_read),
    **{topic.name: (_dlq, _erase, *_OF_EVENTS) for topic in DEAD_LETTERS},
    REPLAYS.name: (_journal, _trace, _topics_read, _erase),
}


def test_every_topic_has_its_readers_here() -> None:
    names = {topic.name for topic in TOPICS}

    assert set(READERS) == names == set(GOOD)
    assert all(READERS.values())
    assert {contract.topic.name for contract in (RAW_EVENTS, UNFETCHED_EVENTS, WEBHOOK_CONFIGURATIONS)} <= names


@pytest.mark.parametrize("topic", sorted(READERS))
@settings(max_examples=40)
@given(data=st.data())
def test_a_record_of_any_making_ends_as_a_letter_or_is_ignored(topic: str, data: st.DataObject) -> None:
    record = data.draw(hostile.records(topic, *GOOD[topic]))

    for reader in READERS[topic]:
        reader(record)


@pytest.mark.parametrize("topic", sorted(READERS))
def test_no_value_of_a_header_of_ours_ends_a_reader(topic: str) -> None:
    for base in GOOD[topic]:
        good = Incoming(**{**_as_read(base), "offset": 3})
        everywhere = [tuple((name, text) for name in hostile.NAMES) for text in (None, *hostile.TEXTS)]
        one_by_one = [((name, text),) for name, text in product(hostile.NAMES, (None, b"9" * 5000, b"\xff"))]
        for changed in (*everywhere, *one_by_one):
            kept = tuple(pair for pair in good.headers if pair[0] not in dict(changed))
            for reader in READERS[topic]:
                reader(replace(good, headers=(*kept, *changed)))


@given(st.sampled_from(_LETTER_TOPICS), st.sampled_from(hostile.TIMES))
@example("crm.events.raw.dlq", -1)
def test_a_letter_of_any_time_has_a_day(topic: str, at: int) -> None:
    assert letter_of(replace(_RAW, topic=topic, timestamp=at)).day
