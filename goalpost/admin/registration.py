"""Accounts and counters in Postgres: written so that a repeat changes nothing. Tokens are sealed before that."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

import psycopg

from runtime.failures import Fatal
from runtime.vault import Vault, hash_of

Connection = psycopg.Connection[Any]

# Owner of the accounts on a plain PostgreSQL, where nobody signs in.
OPERATOR_ID: Final = uuid.uuid5(uuid.NAMESPACE_URL, "goalpost:operator")


class NoSuchUser(Fatal):
    """auth.users belongs to Supabase, so goalpost does not add people to it."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"auth.users has no user {wanted}. Take one of Authentication, Users in Supabase's dashboard, and name it "
            "with --user-id or --email."
        )


class NotRegistered(Fatal):
    """Nothing has that id or name."""

    def __init__(self, kind: str, wanted: str) -> None:
        super().__init__(f"There is no {kind} {wanted}. `goalpost admin {kind} list` shows what there is.")


class NoSuchTimeZone(Fatal):
    """Metrika reads the times of orders in the counter's time zone, so a wrong one would shift them."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"There is no time zone {wanted}. Take the one of the counter's settings in Metrika, by its name in the "
            "tz database, for example Europe/Moscow or Asia/Yekaterinburg."
        )


def ensure_user(connection: Connection, *, user_id: uuid.UUID | None = None, email: str | None = None) -> uuid.UUID:
    """Return the id of a user in ``auth.users``; on plain PostgreSQL, where that table is goalpost's, make one.

    Raises:
        NoSuchUser: on Supabase, and there is no such user.
    """
    query = "SELECT id FROM auth.users WHERE id = %s OR (%s::text IS NOT NULL AND email = %s) ORDER BY id LIMIT 1"
    given = user_id or (None if email else OPERATOR_ID)
    found = connection.execute(query, (given, email, email)).fetchone()
    if found is not None:
        return uuid.UUID(str(found[0]))
    if not _users_are_ours(connection):
        raise NoSuchUser(str(user_id or email or "to whom the account could belong"))
    new = given or uuid.uuid4()
    connection.execute("INSERT INTO auth.users (id, email) VALUES (%s, %s)", (new, email))
    return new


def _users_are_ours(connection: Connection) -> bool:
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'auth.users'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return {str(name) for (name,) in columns} == {"id", "email"}


def ensure_account(
    connection: Connection,
    vault: Vault,
    *,
    account_id: uuid.UUID,
    user_id: uuid.UUID,
    name: str,
    yandex_uid: str,
    access_token: str,
    refresh_token: str | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Write an account. A token that was given before leaves the stored one alone: it may have been renewed since."""
    connection.execute(
        """
        INSERT INTO yandex_accounts AS known
            (id, user_id, name, yandex_uid, access_token, refresh_token)
        VALUES (%(id)s, %(user_id)s, %(name)s, %(yandex_uid)s, %(access)s, %(refresh)s)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, yandex_uid = excluded.yandex_uid
        """,
        values := {
            "id": account_id,
            "user_id": user_id,
            "name": name,
            "yandex_uid": yandex_uid,
            "access": vault.seal(access_token),
            "refresh": vault.seal(refresh_token) if refresh_token else None,
            "given": hash_of(f"{access_token}\n{refresh_token or ''}"),
            "expires_at": expires_at,
        },
    )
    connection.execute(
        """
        UPDATE yandex_accounts
        SET access_token = %(access)s, refresh_token = %(refresh)s, given_token_sha256 = %(given)s,
            token_expires_at = %(expires_at)s,
            refreshed_at = CASE WHEN %(expires_at)s::timestamptz IS NOT NULL THEN NOW() END,
            refreshing_since = NULL, paused_reason = NULL
        WHERE id = %(id)s AND given_token_sha256 IS DISTINCT FROM %(given)s
        """,
        values,
    )


def ensure_counter(
    connection: Connection, *, row_id: uuid.UUID, account_id: uuid.UUID, counter_id: int, name: str | None = None
) -> None:
    """Write a counter: ``counter_id`` is Metrika's number, ``row_id`` our own."""
    connection.execute(
        """
        INSERT INTO metrika_counters (id, account_id, counter_id, name) VALUES (%s, %s, %s, %s)
        ON CONFLICT (id) DO UPDATE
            SET account_id = excluded.account_id, counter_id = excluded.counter_id, name = excluded.name
        """,
        (row_id, account_id, counter_id, name),
    )


def set_time_zone(connection: Connection, row_id: uuid.UUID, time_zone: str) -> None:
    """Write in which time zone a counter counts.

    Raises:
        NoSuchTimeZone: Postgres knows none of that name.
    """
    query = "SELECT name FROM pg_timezone_names WHERE lower(name) = lower(%s)"
    found = connection.execute(query, (time_zone,)).fetchone()
    if found is None:
        raise NoSuchTimeZone(time_zone)
    connection.execute("UPDATE metrika_counters SET time_zone = %s WHERE id = %s", (found[0], row_id))
