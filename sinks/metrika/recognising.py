"""Recognises uploads in a list that shows no comments, by how many lines they have and when they were made. Pure.

Metrika documents the comment of every upload, and by it one is found for certain. A list in which nothing has a comment
proves nothing by its silence: an upload that may be there is not sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

from sinks.metrika.answers import Listed, Uploading
from sinks.metrika.ledger import Upload

# How far Metrika's clock and ours may be apart.
_CLOCKS: Final = timedelta(minutes=10)


def shows_comments(listed: Listed) -> bool:
    """Whether what has no comment in this list is somebody else's. An empty list hides nothing either."""
    return not listed.uploadings or any(uploading.comment for uploading in listed.uploadings)


def recognised(uploads: Iterable[Upload], listed: Listed, *, known: Collection[str]) -> Mapping[UUID, Uploading | None]:
    """Return what of a list without comments the looked for ``uploads`` may be.

    ``known`` are the ids of Metrika that the ledger has already. Of one size, as many uploads as entries are each
    other's; where the numbers differ it is open which is which: ``None``. What can be none of the entries is left out.
    """
    unknown = [entry for entry in listed.uploadings if entry.id not in known]
    found: dict[UUID, Uploading | None] = {}
    for _, same in groupby(sorted(uploads, key=_size_and_age), key=lambda upload: upload.row_count):
        alike = list(same)
        entries = [entry for entry in unknown if _may_be(entry, alike)]
        if not entries:
            continue
        certain = len(entries) == len(alike) and all(entry.source_quantity for entry in entries)
        ordered = sorted(entries, key=_age)
        found.update((upload.id, ordered[place] if certain else None) for place, upload in enumerate(alike))
    return found


def _may_be(entry: Uploading, alike: Sequence[Upload]) -> bool:
    """Whether an entry may be one of these uploads of one size. One that is not counted yet says 0 or nothing."""
    if entry.source_quantity and entry.source_quantity != alike[0].row_count:
        return False
    return entry.created_at is None or entry.created_at >= alike[0].prepared_at - _CLOCKS


def _size_and_age(upload: Upload) -> tuple[int, datetime]:
    return upload.row_count, upload.prepared_at


def _age(entry: Uploading) -> tuple[datetime, int, str]:
    return entry.created_at or datetime.min.replace(tzinfo=UTC), len(entry.id), entry.id
