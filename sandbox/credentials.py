"""The secrets of one sandbox: made once, kept in its folder for its owner only, the same at the next start."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.vault import generate_key

_OWNER_ONLY = 0o600
# Its webhook has the kept id and secret.
FIRST_DIALECT = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a sandbox needs beside its addresses. ``webhook_id`` is a UUID, the rest is random text."""

    secret_key: str
    webhook_id: str
    webhook_secret: str
    sessions_write_key: str

    def of_dialect(self, dialect: str) -> tuple[str, str]:
        """Return id and secret of the webhook that speaks ``dialect``; they follow from those of the first one."""
        if dialect == FIRST_DIALECT:
            return self.webhook_id, self.webhook_secret
        secret = hmac.new(self.webhook_secret.encode(), dialect.encode(), hashlib.sha256)
        return str(uuid.uuid5(uuid.UUID(self.webhook_id), dialect)), secret.hexdigest()


def credentials_of(folder: Path) -> Credentials:
    """Return the credentials kept in ``folder``, after making them if there are none yet."""
    kept = folder / "credentials.json"
    if kept.exists():
        return Credentials(**json.loads(kept.read_text(encoding="utf-8")))
    made = Credentials(
        secret_key=generate_key(),
        webhook_id=str(uuid.uuid4()),
        webhook_secret=secrets.token_urlsafe(24),
        sessions_write_key=secrets.token_urlsafe(24),
    )
    folder.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(".new")
    draft.touch(mode=_OWNER_ONLY)
    draft.write_text(json.dumps(asdict(made), indent=2), encoding="utf-8")
    draft.replace(kept)
    return made
