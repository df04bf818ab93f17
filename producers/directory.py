"""Which webhooks there are: an immutable index that requests look at while a follower prepares the next one."""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.events import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A webhook and the keys that its senders may sign with."""

    webhook: Webhook
    signing_keys: tuple[bytes, ...] = ()

    def has_secret(self, secret_hash: str) -> bool:
        """Whether ``secret_hash`` is that of an active secret; the time does not tell how near a wrong one came."""
        presented = secret_hash.encode()
        return any(hmac.compare_digest(presented, active.encode()) for active in self.webhook.secret_hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The webhooks by id and by the hash of each secret. Not ``complete``: there may be more, so none is refused."""

    by_id: Mapping[str, Entry]
    by_secret_hash: Mapping[str, tuple[Entry, ...]]
    complete: bool


EMPTY = Index(by_id={}, by_secret_hash={}, complete=False)


def index_of(entries: Iterable[Entry], *, complete: bool = True) -> Index:
    """Return the index over ``entries``. Several webhooks may share a secret; then it alone does not find one."""
    by_id = {entry.webhook.webhook_id.lower(): entry for entry in entries}
    sharing: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in by_id.values():
        for secret_hash in dict.fromkeys(entry.webhook.secret_hashes):
            sharing[secret_hash].append(entry)
    by_secret_hash = {secret_hash: tuple(found) for secret_hash, found in sharing.items()}
    return Index(by_id=by_id, by_secret_hash=by_secret_hash, complete=complete)
