"""Web sessions: what the site's script or Supabase reports, as the records of ``web.sessions``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import orjson

from producers.dialects.bodies import Unreadable, json_text
from producers.fields import BadField, Values, text
from producers.identifiers import NoIdentifier, digits, identifier
from producers.times import session_time
from schemas.codec import Codec
from schemas.events import EpochMillis, Session
from schemas.identity import row_id_for, session_key, visitor_key
from schemas.records import Outgoing
from schemas.topics import SESSIONS

TABLE: Final = "user_analytics"

_KNOWN: Final = frozenset(
    {"session_id", "ym_uid", "yclid", "user_id", "timestamp", "last_visit_at", "id", "analytics_data"}
)


# Once by the program, once more by its driver, and by a trigger that passes the row on.
_ENCODED_TIMES: Final = 3


class _Ids(NamedTuple):
    ym_uid: str | None
    yclid: str | None
    user_id: str | None


class _Times(NamedTuple):
    session_at: EpochMillis
    last_visit_at: EpochMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The session's row is gone."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A row that no conversion can be joined with; ``why`` is for people."""

    why: str


def beacon(values: object, *, received_at: EpochMillis) -> Session:
    """Return the session that the site's script reports; goalpost will create its row.

    Fields that goalpost does not know become part of the row's ``analytics_data``, and the ids are put into its
    ``ids``, where the seed's queries look for them. A clock that is ahead does not make a session the last one for
    ever: times are at most the receive time.

    Raises:
        BadField: a field cannot be used.
    """
    if not isinstance(values, dict):
        raise BadField("body", "is not a JSON object; send one per session")
    session_id = identifier(values, "session_id")
    if session_id is None:
        raise BadField("session_id", "is missing; send the id that the site's script gave the session")
    data = values.get("analytics_data")
    if data is not None and not isinstance(data, dict):
        raise BadField("analytics_data", "is not a JSON object; send an object or leave it out")
    ids = _ids(values, nested_ids(data))
    times = _times(values, received_at)
    unknown = {name: value for name, value in values.items() if name not in _KNOWN}
    return Session(
        session_id=session_id,
        row_id=_row_id(values) or row_id_for(session_id),
        received_at=received_at,
        creates_row=True,
        analytics_data=_row_content({**unknown, **(data or {})}, ids),
        **ids._asdict(),
        **times._asdict(),
    )


def change(payload: Mapping[str, Any], *, received_at: EpochMillis) -> Session | Removed | Skipped:
    """Return what a Supabase database webhook of ``user_analytics`` says.

    Supabase does not repeat a webhook that was refused, so a row is used as far as possible: a visitor id that is no
    id is left out, and a row without a session is skipped.

    Raises:
        BadField: it is no such webhook, or that of another table.
    """
    if payload.get("table") != TABLE:
        raise BadField("table", f"is not {TABLE}; make the database webhook for that table")
    kind = payload.get("type")
    if kind not in ("INSERT", "UPDATE", "DELETE"):
        raise BadField("type", "is not INSERT, UPDATE or DELETE; use Supabase's own database webhooks")
    row = payload.get("old_record" if kind == "DELETE" else "record")
    if not isinstance(row, dict):
        return Skipped(why="no row")
    try:
        session_id, row_id = identifier(row, "session_id"), text(row, "id")
        times = _times(row, received_at)
    except BadField as exc:
        return Skipped(why=str(exc))
    if session_id is None or row_id is None:
        return Skipped(why="the row has no session_id or no id")
    if kind == "DELETE":
        return Removed(session_id=session_id)
    nested = nested_ids(row.get("analytics_data"))
    ids = _Ids(*(_usable(nested, name) for name in _Ids._fields))
    return Session(
        session_id=session_id,
        row_id=row_id,
        received_at=received_at,
        creates_row=False,
        **ids._asdict(),
        **times._asdict(),
    )


def session_records(session: Session, codec: Codec[Session]) -> list[Outgoing]:
    """Return the session's record, and the one that makes it its visitor's last; only the first has the content."""
    records = [Outgoing(topic=SESSIONS.name, key=session_key(session.session_id), value=codec.encode(session))]
    if session.ym_uid is not None:
        lean = replace(session, analytics_data=None)
        records.append(Outgoing(topic=SESSIONS.name, key=visitor_key(session.ym_uid), value=codec.encode(lean)))
    return records


def removal_record(removed: Removed) -> Outgoing:
    """Return the tombstone of a session.

    The visitor's record stays: it may long since name another session, which nobody would report again.
    """
    return Outgoing(topic=SESSIONS.name, key=session_key(removed.session_id), value=None)


def nested_ids(data: object) -> Values:
    """Return the ids in a row's ``analytics_data``; both may be texts that hold JSON."""
    content = _decoded(data)
    ids = _decoded(content.get("ids")) if isinstance(content, dict) else None
    return ids if isinstance(ids, dict) else {}


def _decoded(value: object) -> object:
    """Return the object in a text that holds one as JSON, as drivers leave it that encode twice; else ``value``."""
    found = value
    for _ in range(_ENCODED_TIMES):
        if not isinstance(found, str):
            break
        try:
            found = orjson.loads(found)
        except orjson.JSONDecodeError:
            return value
    return found if isinstance(found, dict) else value


def _read(values: Values, name: str) -> str | None:
    try:
        return identifier(values, name) if name == "user_id" else digits(values, name)
    except NoIdentifier:
        return None


def _usable(values: Values, name: str) -> str | None:
    try:
        return _read(values, name)
    except BadField:
        return None


def _ids(values: Values, nested: Values) -> _Ids:
    given = [_read(values, name) for name in _Ids._fields]
    try:
        found = [one or _read(nested, name) for one, name in zip(given, _Ids._fields, strict=True)]
    except BadField as exc:
        raise exc.within("analytics_data.ids.") from exc
    return _Ids(*found)


def _times(values: Values, received_at: EpochMillis) -> _Times:
    """Return the times of a row or beacon.

    Without a ``last_visit_at`` the session's own time counts: too early makes an upload early, too late loses it.
    """
    session_at = min(session_time(values, "timestamp", now=received_at) or received_at, received_at)
    last_visit_at = min(session_time(values, "last_visit_at", now=received_at) or session_at, received_at)
    return _Times(session_at=session_at, last_visit_at=max(session_at, last_visit_at))


def _row_id(values: Values) -> str | None:
    given = text(values, "id")
    try:
        return str(uuid.UUID(given)) if given is not None else None
    except ValueError as exc:
        raise BadField("id", "is not a UUID; send the row's UUID or leave it out") from exc


def _row_content(data: dict[str, Any], ids: _Ids) -> str:
    known = _decoded(data.get("ids", {}))
    found = {name: value for name, value in ids._asdict().items() if value is not None}
    if found and isinstance(known, dict):
        # The site's own word stands, but as it is read: whoever looks for the visitor finds the row by it.
        given = {name: value for name, value in known.items() if _usable(known, name) != found.get(name, value)}
        data = {**data, "ids": {**known, **found, **given}}
    try:
        return json_text(data)
    except Unreadable as exc:
        raise BadField("analytics_data", str(exc)) from exc
