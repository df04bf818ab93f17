"""What a person may mean by what they ask ``goalpost trace`` for: pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.identity import EVENT_PREFIX, SESSION_PREFIX, VISITOR_PREFIX, event_id_for
from schemas.topics import TOPICS

# Bitrix24 names a deal DEAL_54 in robots and D_54 in the fields that bind documents, a lead LEAD_54 or L_54.
_DOCUMENT: Final = re.compile(r"(?:DEAL|LEAD|D|L)_(\d{1,18})", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d{1,18}")
_DOCUMENTS: Final = ("DEAL_", "LEAD_")
_KEYS: Final = (SESSION_PREFIX, VISITOR_PREFIX, EVENT_PREFIX)
_TOPICS: Final = frozenset(topic.name for topic in TOPICS)

# Fields of our records that name an order, a session or a visitor.
_ORDER: Final = ("order_id",)
_IDS: Final = ("session_id", "ym_uid", "client_id", "yclid")

# Of what the door derives an event's id where the sender says which delivery it is: the field event_id, the header
# Idempotency-Key (with the place in an array behind it), Tilda's number of a submission, or the key as it stands.
_DERIVED: Final = ("event_id:{}", "delivery:{}", "tranid:{}", "{}")
_LONGEST_ARRAY: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that what was asked may name. ``identity`` is it as one id, if it is a UUID.

    ``orders`` are the spellings of an order's number, ``text`` what a session, a visitor or a click may be called.
    """

    text: str
    identity: uuid.UUID | None = None
    place: Place | None = None
    orders: frozenset[str] = frozenset()
    needles: tuple[bytes, ...] = field(default=())

    @property
    def keys(self) -> frozenset[bytes]:
        """Keys of records that are of the session, the visitor or the event."""
        return frozenset(f"{kind}{self.text}".encode() for kind in _KEYS)

    def event_ids(self, webhook_ids: Iterable[str]) -> frozenset[str]:
        """Return every event id that it may be, given the webhooks that there are: our own, or the sender's."""
        own = () if self.identity is None else (str(self.identity),)
        names = [form.format(self.text) for form in _DERIVED]
        names += [f"delivery:{self.text}#{position}" for position in range(_LONGEST_ARRAY)]
        # Anybody may write to the topic that names webhooks; what is no UUID is no webhook of ours.
        known = [one for one in webhook_ids if _uuid(one) is not None]
        return frozenset((*own, *(event_id_for(one, name) for one in known for name in names)))

    def is_named_in(self, fields: Mapping[str, Any]) -> bool:
        """Tell whether a decoded record names the order, the session, the visitor or the click."""
        return any(fields.get(name) in self.orders for name in _ORDER) or any(
            fields.get(name) == self.text for name in _IDS
        )

    def may_be_in(self, value: bytes | None) -> bool:
        """Tell whether a record is worth decoding: its bytes hold what was asked for."""
        return value is not None and any(needle in value for needle in self.needles)

    def is_written_in(self, body: bytes | None) -> bool:
        """Tell whether a body that nobody could read holds it as a word of its own; a short number says nothing."""
        return body is not None and any(
            _stands_alone(needle, body) for needle in self.needles if len(needle) >= _TELLING_BYTES
        )


def _stands_alone(needle: bytes, body: bytes) -> bool:
    """Whether a body holds ``needle`` where no word goes on before or behind it."""
    begin = body.find(needle)
    while begin >= 0:
        end = begin + len(needle)
        if not (_goes_on(body[begin - 1 : begin]) or _goes_on(body[end : end + 1])):
            return True
        begin = body.find(needle, begin + 1)
    return False


def _goes_on(character: bytes) -> bool:
    return character.isalnum() or character in (b"-", b"_")


# A number of four digits stands in half of all bodies by chance: a price, a year.
_TELLING_BYTES: Final = 5


def question(asked: str) -> Question:
    """Return what ``asked`` may mean. Keys are taken as topics show them (``s:...``), a number also as ``#54``."""
    text = asked.encode("utf-8", "replace").decode().strip().strip("\"'")
    place = _place(text)
    if place is not None:
        return Question(text=text, place=place)
    if text.startswith(_KEYS):
        text = text[2:]
    orders = _orders(text)
    needles = tuple(one.encode() for one in sorted({text, *orders}) if one)
    return Question(text=text, identity=_uuid(text), orders=orders, needles=needles)


def _orders(text: str) -> frozenset[str]:
    bare = text.lstrip("#№ ")
    document = _DOCUMENT.fullmatch(bare)
    number = document[1] if document else bare if _NUMBER.fullmatch(bare) else None
    spellings = () if number is None else (number, *(f"{kind}{number}" for kind in _DOCUMENTS))
    return frozenset(one for one in (text, bare, *spellings) if one)


def _place(text: str) -> Place | None:
    topic, *numbers = text.split(":")
    if topic not in _TOPICS or len(numbers) != 2 or not all(_NUMBER.fullmatch(one) for one in numbers):
        return None
    return Place(topic=topic, partition=int(numbers[0]), offset=int(numbers[1]))


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
