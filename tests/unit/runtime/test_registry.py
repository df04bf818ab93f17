"""What the registry says is believed only where it speaks as one; all else at its address is an outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

import runtime.registry
from runtime.breaker import Breaker, Limits
from runtime.failures import Fatal
from runtime.lifecycle import Heartbeat, Stop
from runtime.registry import Incompatible, Registry, RegistryUnavailable
from schemas.codec import UnknownSchemaId, frame
from schemas.contracts import RAW_EVENTS
from schemas.records import Incoming, header
from schemas.topics import CONVERSIONS
from sinks.consumer import SinkLoop
from sinks.contract import Item, Refused
from streams.patience import Patience, PatientDecoder, StoppedWaiting
from tests.registry_double import (
    NO_ANSWERS,
    SCHEMA_ID,
    SLOW_ANSWERS,
    UNKNOWN_SCHEMA,
    UNKNOWN_SUBJECT,
    registry_double,
    says,
)
from tests.unit.sinks.test_consumer import Broker, Letters, Message
from tests.unit.streams.builders import RAW_CODEC, event

ASKS: dict[str, Callable[[Registry], object]] = {
    "schema": lambda registry: registry.schema(SCHEMA_ID),
    "id_of": lambda registry: registry.id_of("s-value", "{}"),
    "codec": lambda registry: registry.codec(RAW_EVENTS),
    "register": lambda registry: registry.register("s-value", "{}"),
    "compatibility": lambda registry: registry.compatibility("s-value"),
    "require_compatibility": lambda registry: registry.require_compatibility("s-value", "BACKWARD"),
}


@pytest.mark.parametrize("name", sorted(NO_ANSWERS))
def test_what_is_no_registrys_answer_is_an_outage_whatever_was_asked(name: str) -> None:
    with registry_double(NO_ANSWERS[name]) as double:
        for ask in ASKS.values():
            with pytest.raises(RegistryUnavailable, match=double.url):
                ask(Registry(double.url))


@pytest.mark.parametrize("name", sorted(SLOW_ANSWERS))
def test_an_answer_without_an_end_is_broken_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.registry, "_SECONDS", 0.5)
    with registry_double(SLOW_ANSWERS[name]) as double:
        began = time.monotonic()
        with pytest.raises(RegistryUnavailable):
            Registry(double.url).schema(SCHEMA_ID)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://[::1", "http://\x00/", "http://.a./x", "http://a b/"]
)
def test_an_address_where_nobody_is_is_an_outage(url: str) -> None:
    for ask in ASKS.values():
        with pytest.raises(RegistryUnavailable):
            ask(Registry(url))


def test_no_credentials_of_the_address_are_in_an_error() -> None:
    with pytest.raises(RegistryUnavailable) as failed:
        Registry("http://user:hunter2@127.0.0.1:1/apis").schema(1)

    assert "hunter2" not in str(failed.value)
    assert "http://127.0.0.1:1/apis" in str(failed.value)


def test_the_registrys_own_words_are_believed() -> None:
    good = {"schema": '"string"', "id": 5, "compatibilityLevel": "FULL", "compatibility": "BACKWARD"}
    for content_type in ("application/vnd.schemaregistry.v1+json", "application/json; charset=utf-8", None):
        with registry_double(says(200, good, content_type)) as double:
            registry = Registry(double.url)
            assert (registry.schema(SCHEMA_ID), registry.id_of("s", "{}")) == ('"string"', 5)
            assert (registry.register("s", "{}"), registry.compatibility("s")) == (5, "FULL")
            assert registry.codec(RAW_EVENTS).schema_id == 5
            registry.require_compatibility("s", "BACKWARD")


def test_unknown_is_what_the_registry_itself_calls_so() -> None:
    with registry_double(UNKNOWN_SCHEMA) as double:
        registry = Registry(double.url)
        with pytest.raises(UnknownSchemaId):
            registry.schema(SCHEMA_ID)
        assert registry.id_of("s", "{}") is None
    with registry_double(UNKNOWN_SUBJECT) as double:
        registry = Registry(double.url)
        assert registry.id_of("s", "{}") is None
        assert registry.compatibility("s") is None
        with pytest.raises(RegistryUnavailable):  # no schema is missing: no subject was asked for
            registry.schema(SCHEMA_ID)
        with pytest.raises(Fatal, match="topics apply"):
            registry.codec(RAW_EVENTS)
    with registry_double(says(404, {"error_code": 40408, "message": "not configured"})) as double:
        assert Registry(double.url).compatibility("s") is None


@pytest.mark.parametrize("status", [409, 422])
def test_a_schema_is_refused_by_the_registry_alone(status: int) -> None:
    with (
        registry_double(says(status, {"error_code": status, "message": "incompatible"})) as double,
        pytest.raises(Incompatible, match="incompatible"),
    ):
        Registry(double.url).register("s", "{}")


def test_a_flood_of_unknown_ids_asks_once_each_and_a_schema_that_comes_later_is_found() -> None:
    now = [0.0]
    with registry_double(UNKNOWN_SCHEMA) as double:
        registry = Registry(double.url, clock=lambda: now[0])
        for _ in range(200):
            for schema_id in (SCHEMA_ID, 8):
                with pytest.raises(UnknownSchemaId):
                    registry.schema(schema_id)
        assert len(double.requests) == 2

        double.answer = says(200, {"schema": '"string"'})
        with pytest.raises(UnknownSchemaId):
            registry.schema(SCHEMA_ID)
        now[0] += 1.5  # whoever registers it replays the letter at once
        assert registry.schema(SCHEMA_ID) == '"string"'
        assert registry.schema(SCHEMA_ID) == '"string"'
    assert len(double.requests) == 3


def test_an_id_that_stays_unknown_is_asked_for_ever_less_often_and_after_a_rest_at_once() -> None:
    now = [0.0]
    with registry_double(UNKNOWN_SCHEMA) as double:
        registry = Registry(double.url, clock=lambda: now[0])
        for tenth in range(6000):  # ten minutes of a record each tenth of a second
            now[0] = tenth / 10
            with pytest.raises(UnknownSchemaId):
                registry.schema(SCHEMA_ID)
        assert 10 < len(double.requests) < 30

        now[0] += 120
        for wait in (0.0, 1.1):
            now[0] += wait
            asked = len(double.requests)
            with pytest.raises(UnknownSchemaId):
                registry.schema(SCHEMA_ID)
            assert len(double.requests) == asked + 1


def test_an_id_that_no_registry_gives_is_not_asked_for() -> None:
    with pytest.raises(UnknownSchemaId):
        Registry("http://127.0.0.1:1").schema(2**31)


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.registry, "_REMEMBERED", 10)
    with registry_double(says(200, {"schema": '"string"'})) as double:
        registry = Registry(double.url)
        for schema_id in range(25):
            registry.schema(schema_id)
        assert len(registry._texts) == 10


# -- what the loops make of it ---------------------------------------------------------------------------------------

_FOREIGN = frame(SCHEMA_ID, RAW_CODEC.encode(event(session_id="s"))[5:])


class _Sink:
    """Decodes raw events with a registry's help and remembers them."""

    name = "test"

    def __init__(self, registry: Registry) -> None:
        self._codec = RAW_EVENTS.codec(schema_id=1, foreign_schema=registry.schema)
        self.taken: list[Any] = []

    def open(self) -> None:
        """Reach nothing."""

    def probe(self) -> None:
        """Ask nothing."""

    def close(self) -> None:
        """Let go of nothing."""

    def decode(self, record: Incoming) -> Any:
        """The event."""
        return self._codec.decode(record.value)

    def write(self, batch: list[Item[Any]]) -> list[Refused]:
        """Take all."""
        self.taken += [item.content for item in batch]
        return []


def _loop(registry: Registry, polls: list[Any]) -> tuple[SinkLoop[Any], _Sink, Letters, Broker]:
    stop = Stop()
    log: list[Any] = []
    sink, letters, broker = _Sink(registry), Letters(log=log), Broker(stop=stop, log=log, polls=polls)
    loop = SinkLoop[Any](
        lambda: cast(Any, broker),
        cast(Any, sink),
        cast(Any, letters),
        topics=(CONVERSIONS,),
        batch_rows=100,
        stop=stop,
        heartbeat=Heartbeat(),
        group="g",
        breaker=Breaker(Limits(run=500, share=1), time.monotonic),
        monotonic=lambda: broker.now,
    )
    return loop, sink, letters, broker


@pytest.mark.parametrize("name", sorted(NO_ANSWERS))
def test_a_sink_waits_for_the_registry_and_no_good_record_becomes_a_letter(name: str) -> None:
    with registry_double(NO_ANSWERS[name]) as double:
        seen: list[dict[str, str]] = []

        def mend() -> None:
            seen.append(dict(loop.obstacles()))
            double.answer = says(200, {"schema": RAW_EVENTS.schema_text})

        registry = Registry(double.url)
        loop, sink, letters, _ = _loop(registry, [Message(value_=_FOREIGN, offset_=0), mend, *[lambda: None] * 40])
        loop.run()

    assert [found.session_id for found in sink.taken] == ["s"]
    assert letters.letters == []
    assert "RegistryUnavailable" in seen[0]
    assert double.url in seen[0]["RegistryUnavailable"]


def test_a_schema_that_the_registry_does_not_have_is_a_letter_and_the_next_record_is_taken() -> None:
    with registry_double(UNKNOWN_SCHEMA) as double:
        good = RAW_EVENTS.codec(schema_id=1, foreign_schema=str).encode(event(session_id="next"))
        polls = [Message(value_=_FOREIGN, offset_=0), Message(value_=good, offset_=1)]
        loop, sink, letters, _ = _loop(Registry(double.url), polls)
        loop.run()

    assert [found.session_id for found in sink.taken] == ["next"]
    assert [header(one.headers, "dlq.error.class") for one in letters.letters] == ["schema_unknown"]


@pytest.mark.parametrize("name", ["a page", "an empty object", "deep JSON", "unauthorized", "a proxy's 404", "a reset"])
def test_the_join_waits_for_the_registry_says_so_and_goes_on(name: str) -> None:
    stop = Stop()
    patience = Patience(stop, Heartbeat())
    with registry_double(NO_ANSWERS[name]) as double:
        decode = PatientDecoder(RAW_EVENTS.codec(schema_id=1, foreign_schema=Registry(double.url).schema), patience)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(decode(_FOREIGN)))
        thread.start()
        _until(lambda: "registry" in patience.obstacles)
        assert double.url in patience.obstacles["registry"]
        double.answer = says(200, {"schema": RAW_EVENTS.schema_text})
        thread.join(30)

    assert [one.session_id for one in found] == ["s"]
    assert patience.obstacles == {}


def test_the_join_that_waits_can_be_stopped() -> None:
    stop = Stop()
    stop.request()
    with registry_double(NO_ANSWERS["a page"]) as double, pytest.raises(StoppedWaiting):
        PatientDecoder(
            RAW_EVENTS.codec(schema_id=1, foreign_schema=Registry(double.url).schema), Patience(stop, Heartbeat())
        )(_FOREIGN)


def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)
