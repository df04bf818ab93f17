"""Authorization codes: given for a person's consent, good for one exchange. They survive the process."""

import base64
import hashlib
import hmac
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

_TABLES = """
CREATE TABLE IF NOT EXISTS code (
    code TEXT PRIMARY KEY, login TEXT NOT NULL, client_id TEXT NOT NULL, challenge TEXT NOT NULL,
    challenge_method TEXT NOT NULL, expires_at REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A person lets a client act for a login; with a `challenge` the client must prove that it was the one to ask."""

    login: str
    client_id: str
    challenge: str = ""
    challenge_method: str = "plain"


class Codes:
    """Codes given and redeemed. The event loop is its only user."""

    def __init__(self, connection: sqlite3.Connection, new_code: Callable[[], str]) -> None:
        connection.executescript(_TABLES)
        self._connection = connection
        self._new_code = new_code

    def give(self, consent: Consent, expires_at: float) -> str:
        """A code for this consent."""
        code = self._new_code()
        values = (
            code,
            consent.login,
            consent.client_id,
            consent.challenge,
            consent.challenge_method,
            expires_at,
        )
        self._connection.execute("INSERT INTO code VALUES (?, ?, ?, ?, ?, ?, 0)", values)
        return code

    def redeem(self, form: dict[str, str], now: float) -> Consent | str:
        """The consent behind the code of a token request; else why not. The code is used up by it."""
        found = self._connection.execute("SELECT * FROM code WHERE code = ?", [form.get("code", "")]).fetchone()
        if found is None or found["used"]:
            return "Invalid code"
        if now >= found["expires_at"]:
            return "Code has expired"
        if form.get("client_id") != found["client_id"]:
            return "The code was given to another client"
        if found["challenge"] and not _proven(found["challenge"], found["challenge_method"], form):
            return "code_verifier does not fit code_challenge"
        self._connection.execute("UPDATE code SET used = 1 WHERE code = ?", [found["code"]])
        return Consent(login=found["login"], client_id=found["client_id"])


def _proven(challenge: str, method: str, form: dict[str, str]) -> bool:
    # RFC 7636, section 4.6.
    verifier = form.get("code_verifier", "")
    if method == "S256":
        verifier = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(challenge.encode(), verifier.encode())
