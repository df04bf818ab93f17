"""SQL over ``yandex_accounts``: tokens and pauses. Tokens are sealed in the table; nothing here opens them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

_READ: Final = """
    SELECT id, coalesce(name, yandex_uid) AS name, yandex_uid, access_token, refresh_token, paused_reason,
           token_expires_at, refreshed_at, refreshing_since
    FROM yandex_accounts WHERE id = %(id)s
"""

# One statement: the new refresh token is there before the old one is gone. Not over tokens that a person has given
# meanwhile.
_STORE: Final = """
    UPDATE yandex_accounts
    SET access_token = %(access_token)s, refresh_token = coalesce(%(refresh_token)s, refresh_token),
        token_expires_at = %(expires_at)s, refreshed_at = %(now)s, refreshing_since = NULL, paused_reason = NULL
    WHERE id = %(id)s AND access_token = %(replaced)s
"""

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('goalpost refresh ' || %s, 0))"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended('goalpost refresh ' || %s, 0))"
_BETWEEN_TRIES_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as stored; ``access_token`` and ``refresh_token`` are sealed.

    ``refreshing_since``: a refresh was begun then, and what came of it is not known.
    """

    id: UUID
    name: str
    yandex_uid: str
    access_token: str
    refresh_token: str | None
    paused_reason: str | None
    token_expires_at: datetime | None
    refreshed_at: datetime | None
    refreshing_since: datetime | None


def read(connection: Connection, account_id: UUID) -> Account:
    """Return the account.

    Raises:
        LookupError: it has been deleted.
    """
    with connection.cursor(row_factory=class_row(Account)) as cursor:
        account = cursor.execute(_READ, {"id": account_id}).fetchone()
    if account is None:
        raise LookupError(f"account {account_id} is not in yandex_accounts any more")
    return account


@contextmanager
def refreshing(connection: Connection, account_id: UUID, *, wait: Callable[[float], bool]) -> Iterator[bool]:
    """Be the only one of all processes that refreshes the account; ``False`` when ``wait`` says to stop before.

    The lock is the session's, so it is free again when the process dies.
    """
    while not (held := _answered(connection, _LOCK, account_id)) and not wait(_BETWEEN_TRIES_SECONDS):
        pass
    try:
        yield held
    finally:
        if held and not connection.broken:
            _answered(connection, _UNLOCK, account_id)


def _answered(connection: Connection, question: str, account_id: UUID) -> bool:
    row = connection.execute(question, (str(account_id),)).fetchone()
    return row is not None and bool(row[0])


def begin_refresh(connection: Connection, account_id: UUID, *, now: datetime) -> None:
    """Note, before Yandex is asked, that the refresh token may be used up from now on, if not from before on."""
    query = "UPDATE yandex_accounts SET refreshing_since = coalesce(refreshing_since, %s) WHERE id = %s"
    connection.execute(query, (now, account_id))


def end_refresh(connection: Connection, account_id: UUID) -> None:
    """Note that Yandex has not used the refresh token up."""
    connection.execute("UPDATE yandex_accounts SET refreshing_since = NULL WHERE id = %s", (account_id,))


def store_tokens(
    connection: Connection,
    account_id: UUID,
    *,
    replaced: str,
    access_token: str,
    refresh_token: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """Put sealed tokens in the place of ``replaced``, an access token. Without a new refresh token the old stays."""
    values = {
        "id": account_id,
        "replaced": replaced,
        "access_token": access_token,
        "refresh_token": refresh_token,
        "expires_at": expires_at,
        "now": now,
    }
    connection.execute(_STORE, values)


def pause(connection: Connection, account_id: UUID, reason: str) -> None:
    """Say for people why nothing is uploaded for the account, and what to do."""
    connection.execute("UPDATE yandex_accounts SET paused_reason = %s WHERE id = %s", (reason, account_id))


def resume(connection: Connection, account_id: UUID) -> None:
    """The account works again."""
    connection.execute("UPDATE yandex_accounts SET paused_reason = NULL WHERE id = %s", (account_id,))


def numbers(connection: Connection) -> list[tuple[str, str]]:
    """Return each account's id and its number at Yandex."""
    rows = connection.execute("SELECT id::text, yandex_uid FROM yandex_accounts")
    return [(str(account_id), str(uid)) for account_id, uid in rows]
