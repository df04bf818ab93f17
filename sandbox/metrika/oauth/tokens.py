"""Which access token is good and whose it is; new tokens for a code or a refresh token. All of it survives the process.

Answers of `POST /token` follow RFC 6749 and Yandex ID's documentation ("Refreshing a token"); the description texts of
the refresh flow are not public.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.oauth.codes import Codes, Consent
from sandbox.metrika.refusals import INVALID_TOKEN, INVALID_TOKEN_401, Refusal, refusal

_SCHEME = "OAuth "
_TABLES = """
CREATE TABLE IF NOT EXISTS token (
    token TEXT PRIMARY KEY, kind TEXT NOT NULL, login TEXT NOT NULL, partner TEXT, expires_at REAL NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """A successful token answer; `expires_in` is in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int

    def as_json(self) -> dict[str, Any]:
        """The answer's body."""
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_in": self.expires_in,
            "token_type": "bearer",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRefusal:
    """A 400 of the token endpoint."""

    error: str
    description: str

    def as_json(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": self.error, "error_description": self.description}


def presented_token(authorization: str | None) -> str | None:
    """The token of an `Authorization: OAuth <token>` header; Metrika takes tokens from nowhere else since 2019."""
    if authorization is None or not authorization.startswith(_SCHEME):
        return None
    return authorization.removeprefix(_SCHEME).strip() or None


class Tokens:
    """Tokens issued and ended. The event loop is its only user."""

    def __init__(self, connection: sqlite3.Connection, codes: Codes, new_token: Callable[[], str]) -> None:
        connection.executescript(_TABLES)
        self._connection = connection
        self._codes = codes
        self._new_token = new_token

    def refuse(self, token: str | None, now: float, configuration: Configuration) -> Refusal | None:
        """Why a request with this access token is refused, `None` when it may pass."""
        if token is None:
            return refusal("unauthorized", "Send the header 'Authorization: OAuth <token>'")
        found = self._find(token, "access")
        unknown = configuration.strict_tokens and found is None
        over = found is not None and (found["ended"] or now >= found["expires_at"])
        if not (unknown or over or token in configuration.revoked_tokens):
            return None
        return INVALID_TOKEN if configuration.invalid_token_status == 403 else INVALID_TOKEN_401

    def login_of(self, token: str, configuration: Configuration) -> str:
        """Whose token it is; of one that nobody named, a name made from its digest."""
        found = self._find(token)
        if found is not None:
            return str(found["login"])
        unnamed = f"unnamed {hashlib.sha256(token.encode()).hexdigest()[:8]}"
        return configuration.logins.get(token, unnamed)

    def issue(self, login: str, now: float, configuration: Configuration) -> TokenPair:
        """A new pair, as a person's consent would give it."""
        return self._issue(login, self._new_token(), now + configuration.access_token_seconds, now, configuration)

    def end(self, *, token: str | None = None, login: str | None = None) -> int:
        """End a token, or all of a login (password changed, "log out on all devices"). How many tokens it were."""
        sql = "UPDATE token SET ended = 1 WHERE ended = 0 AND (token = ? OR login = ?)"
        return self._connection.execute(sql, (token, login)).rowcount

    def exchange(self, form: dict[str, str], now: float, configuration: Configuration) -> TokenPair | TokenRefusal:
        """Answer a token request; the fields are those of its form, client id and secret included."""
        grant = form.get("grant_type")
        if grant not in ("refresh_token", "authorization_code"):
            description = "grant_type is refresh_token or authorization_code"
            return TokenRefusal(error="unsupported_grant_type", description=description)
        if refused := _client_refused(form, configuration):
            return refused
        if grant == "refresh_token":
            return self._refresh(form.get("refresh_token", ""), now, configuration)
        consent = self._codes.redeem(form, now)
        if not isinstance(consent, Consent):
            return TokenRefusal(error="invalid_grant", description=consent)
        return self.issue(consent.login, now, configuration)

    def _refresh(self, refresh_token: str, now: float, configuration: Configuration) -> TokenPair | TokenRefusal:
        found = self._find(refresh_token, "refresh")
        unknown = found is None and (configuration.strict_tokens or not refresh_token)
        over = found is not None and (found["ended"] or now >= found["expires_at"])
        if unknown or over or refresh_token in configuration.revoked_tokens:
            return TokenRefusal(error="invalid_grant", description="expired_token")
        login, expires_at = self.login_of(refresh_token, configuration), now + configuration.access_token_seconds
        access = self._new_token()
        if configuration.refresh_keeps_access_token and found is not None:
            kept = self._find(str(found["partner"]), "access")
            if kept is not None and not kept["ended"] and now < kept["expires_at"]:
                access, expires_at = kept["token"], kept["expires_at"]
        if configuration.refresh_tokens_rotate:
            self._store(refresh_token, "refresh", login, None, now)
        return self._issue(login, access, expires_at, now, configuration)

    def _issue(self, login: str, access: str, expires_at: float, now: float, configuration: Configuration) -> TokenPair:
        refresh = self._new_token()
        self._store(access, "access", login, refresh, expires_at)
        self._store(refresh, "refresh", login, access, now + configuration.access_token_seconds)
        return TokenPair(access_token=access, refresh_token=refresh, expires_in=int(expires_at - now))

    def _store(self, token: str, kind: str, login: str, partner: str | None, expires_at: float) -> None:
        sql = "INSERT OR REPLACE INTO token (token, kind, login, partner, expires_at) VALUES (?, ?, ?, ?, ?)"
        self._connection.execute(sql, (token, kind, login, partner, expires_at))

    def _find(self, token: str, kind: str | None = None) -> sqlite3.Row | None:
        sql = "SELECT * FROM token WHERE token = ? AND ifnull(?, kind) = kind"
        found: sqlite3.Row | None = self._connection.execute(sql, (token, kind)).fetchone()
        return found


def _client_refused(form: dict[str, str], configuration: Configuration) -> TokenRefusal | None:
    client, secret = form.get("client_id"), form.get("client_secret")
    # A client that proves itself by PKCE needs no secret (RFC 7636).
    if not client or not (secret or form.get("code_verifier")):
        return TokenRefusal(error="invalid_client", description="Client id and client secret are required")
    known = configuration.oauth_clients
    if known and (client not in known or (secret is not None and secret != known[client])):
        return TokenRefusal(error="invalid_client", description="Client not found or wrong client secret")
    return None
