"""Whatever a stranger sends costs at most in proportion to its length, in every field and every dialect."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator

import pytest

from producers.dialects import DIALECTS
from producers.dialects.sizes import USUAL_SIZES, Sizes
from producers.fields import BadField
from producers.intake import TABLE
from producers.publisher import TooLarge
from producers.raw_events import Delivery, parameters_of
from producers.session_bodies import SessionBody, of_beacon, of_supabase
from producers.supabase import NotJson
from producers.taking import taken
from schemas.codec import Codec
from schemas.events import Session
from tests.unit.producers.heavy import FILLINGS, JSON, SIZE, SURROUNDINGS, Heavy, every_field, every_shape
from tests.unit.producers.parts import NOW_MS, RAW_CODEC, SESSION_CODEC, webhook

# Measured shorter than that, what is told apart is noise on a crowded machine. What grows with the square takes seconds
# at the sizes after the first.
_FLOOR_SECONDS = 0.01
# Four times the size may take four times the time, and twice that for caches and collections.
_GROWTH = 8
# What the smallest body may take: a hundred times what one takes that means nothing.
_FIRST_SECONDS = 0.1
_ATTEMPTS = 4
_HOPELESS = 4

Action = Callable[[bytes], object]
Reader = Callable[[bytes, int, Codec[Session], Sizes], SessionBody]


def growth_of(action: Action, one: Heavy) -> str | None:
    """Return how ``action`` grows faster than its input, or ``None``."""
    allowed, size = _FIRST_SECONDS, SIZE
    while size <= one.largest:
        took = min(_seconds(action, one.make(size), allowed))
        if took > allowed:
            return f"{1000 * took:.0f} ms for {size} bytes, where {1000 * allowed:.0f} ms are in proportion"
        allowed, size = _GROWTH * max(took, _FLOOR_SECONDS), 4 * size
    return None


def _seconds(action: Action, body: bytes, allowed: float) -> Iterator[float]:
    """Yield how long ``action`` takes; again only while it takes longer than ``allowed``: others are at work, too."""
    for _ in range(_ATTEMPTS):
        began = time.thread_time()
        action(body)
        took = time.thread_time() - began
        yield took
        if took <= allowed or took > _HOPELESS * allowed:
            return


def _slow(bodies: Iterable[Heavy], action: Callable[[Heavy], Action]) -> dict[str, str]:
    found = {one.name: growth_of(action(one), one) for one in bodies}
    return {name: growth for name, growth in found.items() if growth is not None}


@pytest.fixture(autouse=True)
def _as_in_the_service() -> Iterator[None]:
    """The parser's warnings are off, and the collector does not go through the tests' own objects again and again."""
    parser = logging.getLogger("python_multipart")
    level, thresholds = parser.level, gc.get_threshold()
    parser.setLevel(logging.ERROR)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
    yield
    parser.setLevel(level)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def _door(dialect: str, content_type: str) -> Action:
    """Return what the door does with a body: looks for a secret in it, cuts out what may not be stored, reads it."""
    speaks = DIALECTS[dialect]
    configured = webhook(dialect=dialect, fields={"purchase_id": "own[field]"}, uploads_orders=True)

    def action(body: bytes) -> object:
        if speaks.secrets is not None:
            speaks.secrets(body, content_type)
        delivery = Delivery(
            webhook_id=configured.webhook_id,
            dialect=dialect,
            received_at=NOW_MS,
            body=body if speaks.stored is None else speaks.stored(body, content_type),
            content_type=content_type,
            query=None,
            key=None,
        )
        with contextlib.suppress(TooLarge):
            return taken(delivery, (), configured, speaks, RAW_CODEC, new_id=uuid.uuid4)
        return None

    return action


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_field_of_every_dialect_takes_time_in_proportion(dialect: str) -> None:
    assert _slow(every_field(dialect), lambda one: _door(dialect, one.content_type)) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_much_of_anything_takes_time_in_proportion(dialect: str) -> None:
    assert _slow(every_shape(), lambda one: _door(dialect, one.content_type)) == {}


def test_every_field_of_a_session_takes_time_in_proportion() -> None:
    names = ("session_id", "ym_uid", "yclid", "user_id", "timestamp", "last_visit_at", "id", "analytics_data", "page")
    assert _slow(_fields(names, _beacon), lambda _: _intake(of_beacon)) == {}


@pytest.mark.parametrize("written", ["object", "text"])
def test_every_field_of_a_row_takes_time_in_proportion(written: str) -> None:
    names = ("table", "type", "schema", "session_id", "id", "timestamp", "last_visit_at", "ids", "events")
    assert (
        _slow(_fields(names, lambda values: _row(values, as_text=written == "text")), lambda _: _intake(of_supabase))
        == {}
    )


@pytest.mark.parametrize("read", [of_beacon, of_supabase])
def test_much_of_anything_takes_time_in_proportion_in_sessions(read: Reader) -> None:
    assert _slow(every_shape(), lambda _: _intake(read)) == {}


@pytest.mark.parametrize("unit", [b"a=&", b"&", b"=", b"%", b"%41", b"a=%D0&", b"+", b";", b"\xd0"])
def test_an_address_takes_time_in_proportion(unit: bytes) -> None:
    address = Heavy(name="address", content_type="", make=lambda size: unit * (size // len(unit)), largest=4 * SIZE)
    assert growth_of(parameters_of, address) is None


def _intake(read: Reader) -> Action:
    def action(body: bytes) -> object:
        with contextlib.suppress(BadField, NotJson, TooLarge):
            return read(body, NOW_MS, SESSION_CODEC, USUAL_SIZES)
        return None

    return action


def _fields(names: Iterable[str], write: Callable[[dict[str, str]], object]) -> Iterator[Heavy]:
    for name in names:
        for filling, unit in FILLINGS.items():
            for before, after in SURROUNDINGS:

                def make(size: int, name: str = name, parts: tuple[str, str, str] = (before, unit, after)) -> bytes:
                    value = parts[0] + parts[1] * (size // len(parts[1].encode())) + parts[2]
                    return json.dumps(write({name: value}), ensure_ascii=False).encode()

                title = f"{name} of {filling} between {before!r} and {after!r}"
                largest = 16 * SIZE if (before, after) == SURROUNDINGS[0] else 4 * SIZE
                yield Heavy(name=title, content_type=JSON, make=make, largest=largest)


def _beacon(values: dict[str, str]) -> object:
    return {"session_id": "s", **values}


def _row(values: dict[str, str], *, as_text: bool) -> object:
    data = {"ids": {"ym_uid": "5", "user_id": values.get("ids")}, "events": values.get("events")}
    row = {"id": "7", "session_id": "s", **values, "analytics_data": json.dumps(data) if as_text else data}
    return {"type": "UPDATE", "table": TABLE, "schema": "public", "record": row, "old_record": row, **values}
