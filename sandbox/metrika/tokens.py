"""Yandex OAuth's part: which access token is good, and new tokens for a refresh token.

Answers of `POST /token` follow RFC 6749 and Yandex ID's documentation ("Refreshing a token"); the description texts of
the refresh flow are not public.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.refusals import INVALID_TOKEN, Refusal, refusal

_SCHEME = "OAuth "


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
    """Tokens issued and spent. Not thread-safe: the event loop is its only user."""

    def __init__(self, new_token: Callable[[], str]) -> None:
        self._new_token = new_token
        self._expires_at: dict[str, float] = {}
        self._refreshable: set[str] = set()
        self._spent: set[str] = set()

    def refuse(self, token: str | None, now: float, configuration: Configuration) -> Refusal | None:
        """Why a request with this access token is refused, `None` when it may pass."""
        if token is None:
            return refusal("unauthorized", "Send the header 'Authorization: OAuth <token>'")
        expires_at = self._expires_at.get(token)
        unknown = configuration.strict_tokens and expires_at is None
        expired = expires_at is not None and now >= expires_at
        return INVALID_TOKEN if unknown or expired or token in configuration.revoked_tokens else None

    def issue(self, now: float, configuration: Configuration) -> TokenPair:
        """A new pair, as a person's consent would give it."""
        pair = TokenPair(
            access_token=self._new_token(),
            refresh_token=self._new_token(),
            expires_in=configuration.access_token_seconds,
        )
        self._expires_at[pair.access_token] = now + pair.expires_in
        self._refreshable.add(pair.refresh_token)
        return pair

    def exchange(self, form: dict[str, str], now: float, configuration: Configuration) -> TokenPair | TokenRefusal:
        """Answer a token request; the fields are those of its form, client id and secret included."""
        if form.get("grant_type") != "refresh_token":
            return TokenRefusal(
                error="unsupported_grant_type", description="Only grant_type=refresh_token is simulated"
            )
        if not form.get("client_id") or not form.get("client_secret"):
            return TokenRefusal(error="invalid_client", description="Client id and client secret are required")
        refresh_token = form.get("refresh_token", "")
        unknown = configuration.strict_tokens and refresh_token not in self._refreshable
        if not refresh_token or unknown or refresh_token in self._spent | configuration.revoked_tokens:
            return TokenRefusal(error="invalid_grant", description="expired_token")
        if configuration.refresh_tokens_rotate:
            self._spent.add(refresh_token)
        return self.issue(now, configuration)
