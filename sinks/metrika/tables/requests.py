"""SQL over ``metrika_request_days`` and ``metrika_request_pace``: what all uploaders together may ask of Metrika."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final

from psycopg import Connection

# Counted before the request, so that a crash can only make the count too high.
_RESERVE: Final = """
    INSERT INTO metrika_request_days AS days (yandex_uid, day, requests)
    SELECT %(uid)s, %(day)s, 1 WHERE %(limit)s > 0
    ON CONFLICT (yandex_uid, day) DO UPDATE SET requests = days.requests + 1
        WHERE days.requests < %(limit)s AND coalesce(days.rests_until, '-infinity') <= %(now)s
    RETURNING requests
"""

_REFUND: Final = """
    UPDATE metrika_request_days SET requests = requests - 1
    WHERE yandex_uid = %(uid)s AND day = %(day)s AND requests > 0
"""

_REST: Final = """
    INSERT INTO metrika_request_days AS days (yandex_uid, day, rests_until)
    VALUES (%(uid)s, %(day)s, %(until)s)
    ON CONFLICT (yandex_uid, day) DO UPDATE SET rests_until = greatest(days.rests_until, excluded.rests_until)
"""

_USED: Final = """
    SELECT yandex_uid, CASE WHEN rests_until > %(now)s THEN NULL ELSE requests END
    FROM metrika_request_days WHERE day = %(day)s
"""

# Times of the server: uploaders share its clock.
_TAKE_TURN: Final = """
    UPDATE metrika_request_pace
    SET next_at = greatest(next_at, clock_timestamp()) + make_interval(secs => %(apart)s)
    RETURNING greatest(
        extract(epoch FROM next_at - make_interval(secs => %(apart)s) - clock_timestamp()), 0
    )::float8
"""

_BACK_OFF: Final = """
    UPDATE metrika_request_pace
    SET next_at = greatest(next_at, clock_timestamp() + make_interval(secs => %(seconds)s))
"""

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
_BETWEEN_TRIES_SECONDS: Final = 0.05


def reserve(connection: Connection, uid: str, *, day: date, limit: int, now: datetime) -> bool:
    """Count a request that is about to be made; ``False`` where the day has none left."""
    values = {"uid": uid, "day": day, "limit": limit, "now": now}
    return connection.execute(_RESERVE, values).fetchone() is not None


def refund(connection: Connection, uid: str, *, day: date) -> None:
    """Take back a request that never reached Metrika."""
    connection.execute(_REFUND, {"uid": uid, "day": day})


def rest(connection: Connection, uid: str, *, day: date, until: datetime) -> None:
    """Remember that Metrika itself says that the account's quota is used up."""
    connection.execute(_REST, {"uid": uid, "day": day, "until": until})


def used(connection: Connection, *, day: date, now: datetime) -> dict[str, int | None]:
    """Return how many requests each account has made on the day; ``None`` while it rests."""
    rows = connection.execute(_USED, {"day": day, "now": now})
    return {str(uid): None if count is None else int(count) for uid, count in rows}


def turn_in_seconds(connection: Connection, *, per_second: float) -> float:
    """Take the next turn of all uploaders together and return in how many seconds it comes."""
    row = connection.execute(_TAKE_TURN, {"apart": 1 / per_second}).fetchone()
    return 0.0 if row is None else float(row[0])


def back_off(connection: Connection, *, seconds: float) -> None:
    """Give nobody a turn for a while."""
    connection.execute(_BACK_OFF, {"seconds": seconds})


@contextmanager
def place_of(connection: Connection, uid: str, *, places: int, wait: Callable[[float], bool]) -> Iterator[bool]:
    """Hold one of the account's places for parallel requests; ``False`` when ``wait`` says to stop before one is free.

    A place is a lock of the session, so it is free again when the process dies.
    """
    held = _first_free(connection, uid, places)
    while held is None and not wait(_BETWEEN_TRIES_SECONDS):
        held = _first_free(connection, uid, places)
    try:
        yield held is not None
    finally:
        if held is not None and not connection.broken:
            connection.execute(_UNLOCK, (held,))


def _first_free(connection: Connection, uid: str, places: int) -> str | None:
    for place in range(places):
        name = f"goalpost request {place} of {uid}"
        row = connection.execute(_LOCK, (name,)).fetchone()
        if row is not None and row[0]:
            return name
    return None
