"""SQL over ``yandex_accounts``: tokens and pauses. Tokens are sealed in the table; nothing here opens them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

_READ: Final = """
    SELECT id, coalesce(name, yandex_uid) AS name, access_token, refresh_token, paused_reason
    FROM yandex_accounts WHERE id = %(id)s
"""

# Waits for whoever refreshes the same account, but not for those who only refer to it.
_READ_LOCKED: Final = _READ + " FOR NO KEY UPDATE"

_STORE: Final = """
    UPDATE yandex_accounts
    SET access_token = %(access_token)s, refresh_token = coalesce(%(refresh_token)s, refresh_token),
        token_expires_at = %(expires_at)s, refreshed_at = %(now)s, paused_reason = NULL
    WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as stored; ``access_token`` and ``refresh_token`` are sealed."""

    id: UUID
    name: str
    access_token: str
    refresh_token: str | None
    paused_reason: str | None


def read(connection: Connection, account_id: UUID, *, lock: bool = False) -> Account:
    """Return the account; with ``lock`` nobody else refreshes it until the transaction ends.

    Raises:
        LookupError: it has been deleted.
    """
    with connection.cursor(row_factory=class_row(Account)) as cursor:
        account = cursor.execute(_READ_LOCKED if lock else _READ, {"id": account_id}).fetchone()
    if account is None:
        raise LookupError(f"account {account_id} is not in yandex_accounts any more")
    return account


def store_tokens(
    connection: Connection,
    account_id: UUID,
    *,
    access_token: str,
    refresh_token: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """Replace the (sealed) tokens; without a new refresh token the old one stays."""
    values = {
        "id": account_id,
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
