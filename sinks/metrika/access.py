"""Access to an account: its token, at most three requests at a time, and the times at which it must be left alone.

A token that Metrika refuses is refreshed once (one process at a time); when that does not help, the account is paused
with a message for people. Its conversions wait; a new token, or some time, opens it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from psycopg import Connection

from runtime.failures import Fatal
from runtime.logs import logger
from runtime.vault import Vault
from sinks.metrika.answers import Refreshed, Throttled, Unauthorized, Unclear, Unsent
from sinks.metrika.client import OAuth
from sinks.metrika.ledger import COUNTER_QUOTA, quota_free_at
from sinks.metrika.tables import accounts
from sinks.metrika.tables.accounts import Account

# Metrika documentation, "Quotas": parallel requests of one user_login.
PARALLEL_REQUESTS: Final = 3

_PAUSED: Final = timedelta(minutes=15)
_OAUTH_BUSY: Final = timedelta(seconds=10)
_SEALED: Final = "sealed:"

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """An account is left alone until then, or until its token row changes."""

    until: datetime
    sealed_token: str


class Access:
    """The gate of every account. Any thread may call."""

    def __init__(self, *, vault: Vault, oauth: OAuth | None, clock: Callable[[], datetime]) -> None:
        self._vault = vault
        self._oauth = oauth
        self._clock = clock
        self._closures: dict[UUID, Closure] = {}
        self._places: dict[UUID, threading.BoundedSemaphore] = {}

    def closed(self, account_id: UUID, sealed_token: str) -> bool:
        """Return whether requests for the account make no sense now."""
        closure = self._closures.get(account_id)
        return closure is not None and closure.sealed_token == sealed_token and self._clock() < closure.until

    def call(self, connection: Connection, account_id: UUID, request: Callable[[str], A]) -> A | Unauthorized:
        """Make a request with the account's token, and once more with a refreshed one where the first is refused."""
        account = accounts.read(connection, account_id)
        answer = self._ask(account, request)
        if isinstance(answer, Unauthorized):
            refreshed = self._refreshed(connection, account, answer)
            if refreshed is None:
                return answer
            account, answer = refreshed, self._ask(refreshed, request)
            if isinstance(answer, Unauthorized):
                self._pause(connection, account, f"Metrika refuses a token that was just refreshed: {answer.message}.")
                return answer
        self._learn(connection, account, answer)
        return answer

    def _ask(self, account: Account, request: Callable[[str], A]) -> A | Unauthorized:
        token = self._opened(account.access_token)
        if token is None:
            return Unauthorized(message="the stored token does not open with GOALPOST_SECRET_KEY")
        with self._places.setdefault(account.id, threading.BoundedSemaphore(PARALLEL_REQUESTS)):
            return request(token)

    def _opened(self, stored: str) -> str | None:
        """Open a sealed secret; one from before goalpost is stored in clear. ``None`` where it cannot be a token."""
        try:
            secret = self._vault.open(stored) if stored.startswith(_SEALED) else stored
        except Fatal:
            return None
        return secret if secret.isascii() and secret.isprintable() and " " not in secret else None

    def _refreshed(self, connection: Connection, refused: Account, answer: Unauthorized) -> Account | None:
        """Return the account with a new token, or ``None`` after closing it."""
        with connection.transaction():
            account = accounts.read(connection, refused.id, lock=True)
            if account.access_token != refused.access_token:  # somebody else was quicker
                return account
            secret = self._opened(account.refresh_token) if account.refresh_token else None
            if secret is None or self._oauth is None:
                missing = "a refresh token" if secret is None else "YANDEX_CLIENT_ID and YANDEX_CLIENT_SECRET"
                self._pause(connection, account, f"{answer.message}; it cannot be refreshed without {missing}.")
                return None
            tokens = self._oauth.refresh(secret)
            match tokens:
                case Refreshed():
                    self._store(connection, account, tokens)
                case Unauthorized():
                    self._pause(connection, account, f"{answer.message}; its refresh was refused: {tokens.message}.")
                    return None
                case Unsent() | Unclear():
                    logger().warning("token.not_refreshed", account=account.name, cause=tokens.message)
                    self._close(account, self._clock() + _OAUTH_BUSY)
                    return None
        logger().info("token.refreshed", account=account.name)
        return accounts.read(connection, refused.id)

    def _store(self, connection: Connection, account: Account, tokens: Refreshed) -> None:
        now = self._clock()
        lifetime = tokens.expires_in_seconds
        accounts.store_tokens(
            connection,
            account.id,
            access_token=self._vault.seal(tokens.access_token),
            refresh_token=self._vault.seal(tokens.refresh_token) if tokens.refresh_token else None,
            expires_at=now + timedelta(seconds=lifetime) if lifetime else None,
            now=now,
        )

    def _pause(self, connection: Connection, account: Account, cause: str) -> None:
        reason = f"{cause} Authorize the account again and store its token with `goalpost admin account add`."
        accounts.pause(connection, account.id, reason)
        self._close(account, self._clock() + _PAUSED)
        logger().error("account.paused", account=account.name, reason=reason)

    def _learn(self, connection: Connection, account: Account, answer: object) -> None:
        """Close the account for a quota; end a pause when Metrika takes the token again."""
        if isinstance(answer, Throttled) and answer.error_type != COUNTER_QUOTA:
            self._close(account, quota_free_at(answer.error_type, self._clock()))
        elif account.paused_reason is not None and not isinstance(answer, Unsent | Unclear):
            accounts.resume(connection, account.id)
            logger().info("account.resumed", account=account.name)

    def _close(self, account: Account, until: datetime) -> None:
        self._closures[account.id] = Closure(until=until, sealed_token=account.access_token)
