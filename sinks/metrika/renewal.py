"""New tokens for an account: in time, or when Metrika refuses the old one; by one process at a time.

Yandex may give a new refresh token and forget the old one in the same moment, so what is not stored is lost. That a
refresh begins is committed before Yandex is asked; the answer is stored in one statement, and again and again if the
database is away. A refresh that was cut off by a crash is tried once more with the old token, by one process for all.
Where nothing helps, the account is paused with a message for people, and its conversions wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import psycopg
from psycopg import Connection

from runtime.failures import Fatal
from runtime.lifecycle import Stop
from runtime.logs import logger
from runtime.vault import Vault
from sinks.metrika.answers import Refreshed, Unauthorized, Unclear, Unsent
from sinks.metrika.client import OAuth
from sinks.metrika.tables import accounts
from sinks.metrika.tables.accounts import Account

_WHAT_TO_DO: Final = "Authorize it again with `goalpost admin account login`; its conversions wait until then."
_OAUTH_BUSY: Final = timedelta(seconds=10)
# A token is renewed in the last tenth of its life, at most a month early. It lives for a year.
_EARLIEST: Final = timedelta(days=30)
_BETWEEN_TRIES: Final = timedelta(minutes=10)
# Ten minutes of a database that is away; after that the process is probably going to end anyway.
_STORE_TRIES: Final = 120
_STORE_PAUSE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A person is needed; the account says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed:
    """Yandex OAuth did not answer; ask again at ``until``."""

    until: datetime


Renewed = Account | Paused | Delayed


class Renewal:
    """Refreshes tokens. Any thread may call."""

    def __init__(
        self,
        *,
        vault: Vault,
        oauth: OAuth | None,
        connect: Callable[[], Connection],
        clock: Callable[[], datetime],
        stop: Stop,
    ) -> None:
        self._vault = vault
        self._oauth = oauth
        self._connect = connect
        self._clock = clock
        self._stop = stop
        self._tried: dict[UUID, datetime] = {}
        self._lock = threading.Lock()

    def opened(self, stored: str) -> str | None:
        """Open a sealed secret; one from before goalpost is stored in clear. ``None`` where it cannot be a token."""
        try:
            secret = self._vault.open(stored) if self._vault.is_sealed(stored) else stored
        except Fatal:
            return None
        return secret if secret.isascii() and secret.isprintable() and " " not in secret else None

    def in_time(self, connection: Connection, account: Account) -> Renewed | None:
        """Refresh a token that ends soon; ``None`` when there is no need, or it was tried lately."""
        if not self._ends_soon(account):
            return None
        with self._lock:
            now = self._clock()
            if now - self._tried.get(account.id, datetime.min.replace(tzinfo=now.tzinfo)) < _BETWEEN_TRIES:
                return None
            self._tried[account.id] = now
        return self._alone(connection, account, cause="its token ends soon", pauses=False)

    def after_refusal(self, connection: Connection, account: Account, refusal: Unauthorized) -> Renewed:
        """Refresh a token that Metrika has refused."""
        return self._alone(connection, account, cause=refusal.message, pauses=True)

    def pause(self, connection: Connection, account: Account, cause: str) -> None:
        """Say for people why nothing is uploaded for the account, and what to do."""
        reason = f"{cause} {_WHAT_TO_DO}"
        accounts.pause(connection, account.id, reason)
        logger().error("account.paused", account=account.name, reason=reason)

    def _ends_soon(self, account: Account) -> bool:
        expires_at, since = account.token_expires_at, account.refreshed_at
        if expires_at is None or account.refresh_token is None or self._oauth is None:
            return False
        early = min(_EARLIEST, (expires_at - since) / 10) if since is not None else _EARLIEST
        return self._clock() >= expires_at - early

    def _alone(self, connection: Connection, known: Account, *, cause: str, pauses: bool) -> Renewed:
        with accounts.refreshing(connection, known.id, wait=self._stop.wait) as held:
            if not held:
                return Delayed(until=self._clock() + _OAUTH_BUSY)
            account = accounts.read(connection, known.id)
            if self._is_renewed(account, known):
                return account
            if account.paused_reason is not None and known.paused_reason is None:
                return Paused()  # somebody else has asked meanwhile, and was refused
            secret = self.opened(account.refresh_token) if account.refresh_token else None
            if secret is None or self._oauth is None:
                missing = "a refresh token" if secret is None else "YANDEX_CLIENT_ID and YANDEX_CLIENT_SECRET"
                return self._hopeless(
                    connection, account, f"{cause}; it cannot be refreshed without {missing}.", pauses
                )
            accounts.begin_refresh(connection, account.id, now=self._clock())
            tokens = self._oauth.refresh(secret)
            match tokens:
                case Refreshed():
                    return self._kept(connection, account, tokens)
                case Unauthorized():
                    return self._refused(connection, account, cause, tokens, pauses)
                case Unsent() | Unclear():
                    if isinstance(tokens, Unsent) and account.refreshing_since is None:
                        accounts.end_refresh(connection, account.id)
                    logger().warning("token.not_refreshed", account=account.name, cause=tokens.message)
                    return Delayed(until=self._clock() + _OAUTH_BUSY)

    def _is_renewed(self, account: Account, known: Account) -> bool:
        """Whether somebody else was quicker. A token that was only sealed anew, under another key, is the old one."""
        return account.refreshed_at != known.refreshed_at or (
            account.access_token != known.access_token
            and self.opened(account.access_token) != self.opened(known.access_token)
        )

    def _refused(
        self, connection: Connection, account: Account, cause: str, answer: Unauthorized, pauses: bool
    ) -> Renewed:
        said = f"{cause}; its refresh was refused: {answer.message}."
        if account.refreshing_since is not None:
            said += (
                f" A refresh that began at {account.refreshing_since:%Y-%m-%d %H:%M} UTC was cut off before its answer"
            )
            said += " could be stored, so the stored refresh token is probably used up."
        else:
            accounts.end_refresh(connection, account.id)
        return self._hopeless(connection, account, said, pauses)

    def _hopeless(self, connection: Connection, account: Account, cause: str, pauses: bool) -> Renewed:
        if pauses:
            self.pause(connection, account, cause)
        else:
            logger().error("token.not_renewed", account=account.name, cause=cause, action=_WHAT_TO_DO)
        return Paused()

    def _kept(self, connection: Connection, account: Account, tokens: Refreshed) -> Account:
        """Store the tokens, whatever happens to this connection: nobody will give them a second time."""
        try:
            self._store(connection, account, tokens)
        except psycopg.OperationalError as exc:
            self._store_elsewhere(account, tokens, exc)
            raise
        logger().info("token.refreshed", account=account.name)
        return accounts.read(connection, account.id)

    def _store_elsewhere(self, account: Account, tokens: Refreshed, error: psycopg.OperationalError) -> None:
        for _ in range(_STORE_TRIES):
            logger().error("token.not_stored", account=account.name, cause=type(error).__name__)
            # Not Stop.wait: a process that is asked to end still stores what it was given.
            threading.Event().wait(_STORE_PAUSE_SECONDS)
            try:
                with self._connect() as fresh:
                    self._store(fresh, account, tokens)
            except psycopg.OperationalError as exc:
                error = exc
            else:
                logger().info("token.refreshed", account=account.name)
                return

    def _store(self, connection: Connection, account: Account, tokens: Refreshed) -> None:
        now = self._clock()
        lifetime = tokens.expires_in_seconds
        accounts.store_tokens(
            connection,
            account.id,
            replaced=account.access_token,
            access_token=self._vault.seal(tokens.access_token),
            refresh_token=self._vault.seal(tokens.refresh_token) if tokens.refresh_token else None,
            expires_at=now + timedelta(seconds=lifetime) if lifetime else None,
            now=now,
        )
