"""What is needed of a Supabase database webhook: a few fields of a row that may have megabytes.

The payload of an UPDATE carries the row twice. It is gone through without making objects of it, which takes a tenth of
the time and of the memory; only the fields that make a session are read.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from producers.dialects.wrapping import bare

# No id and no time is as long as that; what is longer is refused for its length and need not be taken apart.
_VALUE_BYTES: Final = 16 * 1024

_ABSENT: Final = msgspec.Raw(b"null")


class _Payload(msgspec.Struct):
    table: msgspec.Raw = _ABSENT
    type: msgspec.Raw = _ABSENT
    record: msgspec.Raw = _ABSENT
    old_record: msgspec.Raw = _ABSENT


class _Row(msgspec.Struct):
    id: msgspec.Raw = _ABSENT
    session_id: msgspec.Raw = _ABSENT
    timestamp: msgspec.Raw = _ABSENT
    last_visit_at: msgspec.Raw = _ABSENT
    analytics_data: msgspec.Raw = _ABSENT


class _Data(msgspec.Struct):
    ids: msgspec.Raw = _ABSENT


_PAYLOAD: Final = msgspec.json.Decoder(_Payload)
_ROW: Final = msgspec.json.Decoder(_Row)
_DATA: Final = msgspec.json.Decoder(_Data)


class NotJson(ValueError):
    """The body is not valid JSON; the message says where."""


def payload_of(body: bytes) -> Any:
    """Return a payload with nothing in it but what makes a session; ``None`` where it is no object.

    Raises:
        NotJson: the body is not JSON, or a value that is needed is not.
    """
    written = bare(body).strip()
    try:
        if _begins_with(b'"', written):  # encoded once more on its way
            written = orjson.loads(written).encode().strip()
        if not _is_object(written):
            _value(written)  # says where a short one is no JSON
            return None
        payload = _PAYLOAD.decode(written)
        kind = _value(payload.type)
        return {
            "table": _value(payload.table),
            "type": kind,
            "record": _row(payload.record),
            # Of the row as it was before, only that it is gone is of interest.
            "old_record": _row(payload.old_record) if kind == "DELETE" else None,
        }
    except orjson.JSONDecodeError as exc:
        raise NotJson(_said(exc)) from exc
    except msgspec.DecodeError as exc:
        raise NotJson(_where(written) or str(exc)) from exc
    except RecursionError as exc:
        raise NotJson("it is nested too deeply") from exc


def _row(written: msgspec.Raw) -> Any:
    if not _is_object(written):
        return None
    row = _ROW.decode(written)
    return {
        "id": _value(row.id),
        "session_id": _value(row.session_id),
        "timestamp": _value(row.timestamp),
        "last_visit_at": _value(row.last_visit_at),
        "analytics_data": _ids(row.analytics_data),
    }


def _ids(written: msgspec.Raw | bytes) -> Any:
    """Return ``{"ids": ...}`` of a row's data; some programs write the object as JSON text, or as text of that."""
    try:
        while _begins_with(b'"', written):
            written = orjson.loads(memoryview(written)).encode().strip()
        return {"ids": _value(_DATA.decode(written).ids)} if _is_object(written) else None
    except (msgspec.DecodeError, orjson.JSONDecodeError):
        return None


def _is_object(written: msgspec.Raw | bytes) -> bool:
    return _begins_with(b"{", written)


def _begins_with(sign: bytes, written: msgspec.Raw | bytes) -> bool:
    return bytes(memoryview(written)[:1]) == sign


def _where(written: bytes) -> str | None:
    """Return where JSON that a person may have written by hand ends to be JSON."""
    try:
        _value(written)
    except orjson.JSONDecodeError as exc:
        return _said(exc)
    return None


def _said(error: orjson.JSONDecodeError) -> str:
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


def _value(written: msgspec.Raw | bytes) -> Any:
    """Return a value; the beginning as text of one that is too long for any field, whatever it is."""
    seen = memoryview(written)
    if len(seen) > _VALUE_BYTES:
        return bytes(seen[:_VALUE_BYTES]).decode("utf-8", "replace")
    return orjson.loads(seen)
