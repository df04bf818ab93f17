"""What the join remembers of a session: ids and times only, about 130 bytes, and which of two sessions is the later.

The JSON of a session never enters the state: it would make a million sessions 890 MiB instead of 22 MiB.
"""

from __future__ import annotations

import orjson

from schemas.construct import constructor
from schemas.events import Session

_session = constructor(Session)


def pack(session: Session) -> bytes:
    """Return a session's ids and times as the state keeps them; their order is part of the state version."""
    return orjson.dumps(
        (
            session.session_id,
            session.row_id,
            session.session_at,
            session.last_visit_at,
            session.received_at,
            session.creates_row,
            session.ym_uid,
            session.yclid,
            session.user_id,
        )
    )


def unpack(value: bytes) -> Session:
    """Return the session that :func:`pack` stored."""
    session_id, row_id, session_at, last_visit_at, received_at, creates_row, ym_uid, yclid, user_id = orjson.loads(
        value
    )
    return _session(
        session_id=session_id,
        row_id=row_id,
        session_at=session_at,
        last_visit_at=last_visit_at,
        received_at=received_at,
        creates_row=creates_row,
        ym_uid=ym_uid,
        yclid=yclid,
        user_id=user_id,
    )


def displaces(candidate: Session, present: Session) -> bool:
    """Whether ``candidate`` becomes the visitor's last session in place of ``present``.

    The greatest ``session_at`` wins, whatever the order of arrival. Two sessions of the same millisecond are ordered by
    their id, and two versions of one session by their last visit, so that every worker comes to the same answer.
    """
    return _rank(candidate) >= _rank(present)


def _rank(session: Session) -> tuple[int, str, int, int]:
    return session.session_at, session.session_id, session.last_visit_at, session.received_at
