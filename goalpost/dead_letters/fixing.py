"""Fix and replay: ``--set FIELD=VALUE`` and functions of a person's own Python file change what letters hold.

The event id, the webhook and the receive time are what every effect is made idempotent and linkable by, so no fix can
change them. The record's key follows the identity: with another session, it belongs to that session's partition.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from goalpost.dead_letters.letter import Letter
from goalpost.dead_letters.remake import Unfixable
from schemas.codec import Codec, Undecodable
from schemas.contracts import CONTRACTS, Contract
from schemas.identity import event_key
from schemas.records import Outgoing
from schemas.topics import RAW, RECORD_LIMIT_BYTES

_FIXED_FIELDS: Final = ("event_id", "webhook_id", "received_at")
_CONTRACTS: Final = {contract.topic.name: contract for contract in CONTRACTS}
_ROOM_FOR_HEADERS: Final = 64 * 1024

FieldsFunction = Callable[[dict[str, Any]], dict[str, Any] | None]
BytesFunction = Callable[[bytes], bytes | None]


class BadTransform(ValueError):
    """The transform itself cannot be used. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """What to change: fields to set (as text), and functions over decoded fields and over bytes."""

    settings: Mapping[str, str]
    of_fields: FieldsFunction | None = None
    of_bytes: BytesFunction | None = None


def transform_of(settings: Mapping[str, str], script: Path | None) -> Transform:
    """Return the transform that a person described.

    The script is run here, with this process's rights: it is the operator's own program, as ``goalpost`` is.

    Raises:
        BadTransform: a field that cannot be set, a file that does not run, or one without ``transform`` and
            ``transform_bytes``.
    """
    for name in settings:
        if name in _FIXED_FIELDS:
            raise BadTransform(f"{name} cannot be changed: what is done once for an event is known by it")
    if script is None:
        return Transform(settings=settings)
    try:
        names = runpy.run_path(str(script))
    except Exception as exc:  # a person's program may raise anything
        raise BadTransform(f"{script} does not run: {type(exc).__name__}: {exc}") from exc
    of_fields, of_bytes = names.get("transform"), names.get("transform_bytes")
    if not callable(of_fields) and not callable(of_bytes):
        raise BadTransform(f"{script} defines neither transform(fields) nor transform_bytes(value)")
    return Transform(settings=settings, of_fields=of_fields, of_bytes=of_bytes)


class Fixes:
    """Applies a transform to letters. ``codec`` returns the codec of a topic's values."""

    def __init__(self, transform: Transform, codec: Callable[[Contract[Any]], Codec[Any]]) -> None:
        self._transform = transform
        self._codec = codec

    def body(self, value: bytes) -> bytes | None:
        """Return a request body as ``transform_bytes`` leaves it; it has no fields before it is parsed.

        Raises:
            Unfixable: there is no such function, or it failed.
        """
        if self._transform.of_bytes is None:
            raise Unfixable("a request body has no fields before it is parsed; give --transform a transform_bytes")
        return _changed_bytes(self._transform.of_bytes, value)

    def record(self, letter: Letter, record: Outgoing) -> Outgoing | None:
        """Return ``record`` with the letter's value changed; ``None`` where the transform leaves it.

        Raises:
            Unfixable: it does not decode, the function failed, or the result is no record of its topic.
            runtime.registry.RegistryUnavailable: no answer.
        """
        value = letter.record.value or b""
        of_bytes = self._transform.of_bytes
        changed = None if of_bytes is None else _changed_bytes(of_bytes, value)
        if changed is not None:
            record = replace(record, value=changed)
        fixed = self._with_fields(letter, record)
        return fixed if fixed is not None else None if changed in (None, value) else record

    def _with_fields(self, letter: Letter, record: Outgoing) -> Outgoing | None:
        """Return ``record`` with changed fields; ``None`` where none is changed."""
        contract = _CONTRACTS.get(letter.origin_topic)
        if contract is None or not (self._transform.settings or self._transform.of_fields):
            return None
        codec = self._codec(contract)
        try:
            before = codec.decode(record.value)
        except Undecodable as exc:
            raise Unfixable(f"it does not decode ({exc.reason}); give --transform a transform_bytes") from exc
        after = self._changed(contract, asdict(before))
        if after is None or after == before:
            return None
        kept = [name for name in _FIXED_FIELDS if getattr(before, name, None) != getattr(after, name, None)]
        if kept:
            raise Unfixable(f"the transform changes {', '.join(kept)}, which no replay may")
        key = record.key
        if record.topic == RAW.name and event_key(before) != event_key(after):
            key = event_key(after)
        return replace(record, key=key, value=_encoded(codec, after))

    def _changed(self, contract: Contract[Any], fields: dict[str, Any]) -> Any:
        unknown = sorted(set(self._transform.settings) - set(fields))
        if unknown:
            raise Unfixable(f"{contract.topic.name} has no field {', '.join(unknown)}")
        changed: dict[str, Any] | None = {**fields, **{n: _said(v) for n, v in self._transform.settings.items()}}
        if self._transform.of_fields is not None:
            changed = _called(self._transform.of_fields, changed)
        if changed is None:
            return None
        try:
            return TypeAdapter(contract.record_type).validate_python(changed)
        except ValidationError as exc:
            problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors(include_input=False))
            raise Unfixable(f"not a record of {contract.topic.name}: {'; '.join(problems)}") from exc


def _said(text: str) -> str | None:
    """Read a value of ``--set``: ``null`` stands for none at all."""
    return None if text == "null" else text


def _changed_bytes(function: BytesFunction, value: bytes) -> bytes | None:
    changed: object = _called(function, value)
    if changed is not None and not isinstance(changed, bytes):
        raise Unfixable(f"transform_bytes returned {type(changed).__name__}; return bytes, or None to leave it")
    return changed


def _called(function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return function(argument)
    except Exception as exc:  # a person's program may raise anything; the letter stays where it is
        raise Unfixable(f"the transform raised {type(exc).__name__}") from exc


def _encoded(codec: Codec[Any], record: Any) -> bytes:
    try:
        value = codec.encode(record)
    except Exception as exc:  # fastavro raises a dozen types for values that do not fit
        raise Unfixable(f"the result does not fit its topic ({type(exc).__name__})") from exc
    if len(value) > RECORD_LIMIT_BYTES - _ROOM_FOR_HEADERS:
        raise Unfixable(f"the result is larger than a record can be ({len(value)} bytes)")
    return value
