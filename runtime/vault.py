"""Secrets at rest: tokens and HMAC secrets are stored encrypted under ``GOALPOST_SECRET_KEY``.

The key may be a comma-separated list: the first encrypts, all decrypt, so a key is rotated without a stop
(``cryptography.fernet.MultiFernet``).
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from runtime.failures import Fatal

_PREFIX: Final = "sealed:"


class Vault:
    """Seals and opens short secrets."""

    def __init__(self, keys: str) -> None:
        """Take one or more Fernet keys, separated by commas, the newest first.

        Raises:
            Fatal: a key is not 32 url-safe base64-encoded bytes.
        """
        try:
            fernets = [Fernet(key.strip()) for key in keys.split(",")]
            self._newest, self._fernet = fernets[0], MultiFernet(fernets)
        except ValueError as exc:
            raise Fatal(
                "GOALPOST_SECRET_KEY is not a Fernet key. Make one with `goalpost admin keys generate`."
            ) from exc

    def seal(self, secret: str) -> str:
        """Encrypt ``secret``."""
        return _PREFIX + self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt what :meth:`seal` returned.

        Raises:
            Fatal: none of the keys fits.
        """
        try:
            return self._fernet.decrypt(sealed.removeprefix(_PREFIX).encode()).decode()
        except InvalidToken as exc:
            raise Fatal(
                "a stored secret does not open with GOALPOST_SECRET_KEY. Put the key it was sealed with behind the "
                "new one, separated by a comma."
            ) from exc

    @staticmethod
    def is_sealed(stored: str) -> bool:
        """Tell a sealed secret from one in clear, as it may come from the time before goalpost."""
        return stored.startswith(_PREFIX)

    def is_current(self, stored: str) -> bool:
        """Tell whether ``stored`` is sealed under the newest key, so that it outlives the older ones."""
        if not self.is_sealed(stored):
            return False
        try:
            self._newest.decrypt(stored.removeprefix(_PREFIX).encode())
        except InvalidToken:
            return False
        return True


def generate_key() -> str:
    """Return a new key for ``GOALPOST_SECRET_KEY``."""
    return Fernet.generate_key().decode()


def hash_of(secret: str) -> str:
    """Return the SHA-256 of a webhook secret in hex: enough to compare with, useless to log in with."""
    return hashlib.sha256(secret.encode()).hexdigest()
