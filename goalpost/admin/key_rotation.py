"""Seals every secret in Postgres anew, under the newest key. Row by row, so that it can be interrupted and repeated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from goalpost.admin.registration import Connection
from runtime.failures import Fatal
from runtime.vault import Vault
from sinks.metrika.tables import accounts

# A refresh takes seconds; where one takes longer than this, the account is left for the next run.
_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What became of one row's secrets. ``problem``: why they are as they were."""

    table: str
    row_id: str
    secrets: int
    problem: str | None = None


def reseal(connection: Connection, vault: Vault, *, dry_run: bool) -> Iterator[Sealed]:
    """Seal what is not under the newest key, and tell of each row that has such secrets. ``connection`` autocommits."""
    for (account_id,) in connection.execute("SELECT id FROM yandex_accounts ORDER BY id").fetchall():
        yield from _account(connection, vault, account_id, dry_run=dry_run)
    for (webhook_id,) in connection.execute("SELECT id FROM offline_webhooks ORDER BY id").fetchall():
        yield from _row(
            connection,
            vault,
            "offline_webhooks",
            webhook_id,
            ("secret", "previous_secrets", "fetch_url"),
            dry_run=dry_run,
        )


def _account(connection: Connection, vault: Vault, account_id: UUID, *, dry_run: bool) -> Iterator[Sealed]:
    # Not while an uploader refreshes the token: it recognises the one it replaces by its seal.
    with accounts.refreshing(connection, account_id, wait=_Patience()) as held:
        if not held:
            problem = "its token is being refreshed; run this again"
            yield Sealed(table="yandex_accounts", row_id=str(account_id), secrets=0, problem=problem)
            return
        yield from _row(
            connection, vault, "yandex_accounts", account_id, ("access_token", "refresh_token"), dry_run=dry_run
        )


class _Patience:
    def __init__(self) -> None:
        self._left = _WAIT_SECONDS

    def __call__(self, seconds: float) -> bool:
        threading.Event().wait(seconds)
        self._left -= seconds
        return self._left <= 0


def _row(
    connection: Connection, vault: Vault, table: str, row_id: UUID, columns: tuple[str, ...], *, dry_run: bool
) -> Iterator[Sealed]:
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE id = %s FOR NO KEY UPDATE"  # noqa: S608 - constants only
        stored = cursor.execute(query.encode(), (row_id,)).fetchone() or {}
        old = [secret for value in stored.values() for secret in _secrets(value) if not vault.is_current(secret)]
        if not old:
            return
        try:
            renewed = {name: _resealed(vault, value) for name, value in stored.items()}
        except Fatal as exc:
            yield Sealed(table=table, row_id=str(row_id), secrets=0, problem=str(exc))
            return
        if not dry_run:
            changes = ", ".join(f"{name} = %({name})s" for name in columns)
            update = f"UPDATE {table} SET {changes} WHERE id = %(id)s"  # noqa: S608 - constants only
            cursor.execute(update.encode(), {**renewed, "id": row_id})
    yield Sealed(table=table, row_id=str(row_id), secrets=len(old))


def _secrets(value: Any) -> list[str]:
    if isinstance(value, list):
        return [secret for secret in value if secret]
    return [value] if value else []


def _resealed(vault: Vault, value: Any) -> Any:
    if isinstance(value, list):
        return [_resealed(vault, secret) for secret in value]
    if not value or vault.is_current(value):
        return value
    return vault.seal(vault.open(value) if vault.is_sealed(value) else value)
