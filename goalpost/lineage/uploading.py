"""What the ledger tells of an event: the upload that has it, and the refused files that had it before. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from goalpost.moment import iso

# The ledger's kind of upload for conversions that name a person only by a phone or an e-mail.
_ORDERS: Final = "Contact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload to Metrika. Times are epoch milliseconds; ``parent`` is the token of the refused file it came from."""

    token: str
    state: str
    id_type: str
    row_count: int
    attempts: int = 0
    target: str | None = None
    parent: str | None = None
    metrika_upload_id: str | None = None
    metrika_status: str | None = None
    source_quantity: int | None = None
    line_quantity: int | None = None
    linked_quantity: int | None = None
    goal_not_found_quantity: int | None = None
    user_not_found_quantity: int | None = None
    error_message: str | None = None
    prepared_at: int | None = None
    sent_at: int | None = None
    answered_at: int | None = None
    finished_at: int | None = None
    next_check_at: int | None = None

    @property
    def names_people(self) -> str:
        """How its rows say whose they are."""
        return "as CRM orders, by phone or e-mail" if self.id_type == _ORDERS else f"by {self.id_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """What keeps a conversion from being uploaded: why its account is paused, why its goal is held back."""

    account_paused: str | None = None
    goal_held: str | None = None
    goal_unknown: bool = False


NO_OBSTACLES: Final = Obstacles()


def ledger_steps(upload: Upload | None, refused: tuple[Upload, ...]) -> Iterator[tuple[int, str, str, str]]:
    """Yield (at, what, where, detail) of what the audit trail does not tell: refused files, and the last request."""
    for one in refused:
        if one.finished_at is not None:
            said = f"{one.row_count} rows, sent again in parts: {one.error_message or ''}"
            yield one.finished_at, "refused", f"upload {one.token}", said
    if upload is not None and upload.sent_at is not None:
        where = f"upload {upload.token}"
        yield upload.sent_at, "sent", where, f"request {upload.attempts}" if upload.attempts > 1 else ""


def waits_for(stage: str | None, upload: Upload | None, obstacles: Obstacles, deadline_at: int | None) -> str | None:
    """Say what a conversion that is not at Metrika waits for, and until when at the latest; ``None`` where it is."""
    if stage not in ("stored", "batched"):
        return None
    if obstacles.account_paused is not None:
        cause = f"its account is paused: {obstacles.account_paused}"
    elif stage == "batched":
        cause = _of_upload(upload)
    else:
        cause = f"its goal is held back: {obstacles.goal_held}" if obstacles.goal_held else "its counter's next upload"
    deadline = f" It expires at {iso(deadline_at)}." if deadline_at is not None else ""
    return f"Waiting: {cause.rstrip('.')}.{deadline}"


def _of_upload(upload: Upload | None) -> str:
    if upload is None or not upload.error_message:
        return "its upload is about to be sent"
    again = f"; next look at {iso(upload.next_check_at)}" if upload.next_check_at is not None else ""
    return f"its upload is {upload.state}: {upload.error_message}{again}"
