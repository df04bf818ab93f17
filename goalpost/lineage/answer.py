"""What a search answers with: an event's row, its steps in time, and who could not be asked."""

from __future__ import annotations

from dataclasses import dataclass

from goalpost.lineage.uploading import NO_OBSTACLES, Obstacles, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the audit trail: the row got this stage, by whom and when (epoch milliseconds).

    Or no stage has changed and ``stage`` is another thing that happened, ``session_came`` or ``amount_changed``, which
    ``said`` describes.
    """

    at: int
    stage: str
    actor: str
    upload_token: str | None = None
    metrika_upload_id: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    said: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A conversion in ``webhook_conversions``, with its upload and audit trail. Times are epoch milliseconds.

    ``corrects`` is the event whose amount this row overwrites at Metrika.
    """

    event_id: str
    webhook_id: str
    status: str
    stage: str | None
    created_at: int
    source: str | None = None
    order_id: str | None = None
    session_id: str | None = None
    session_missing: bool | None = None
    analytics_row_id: str | None = None
    target: str | None = None
    price: str | None = None
    currency: str | None = None
    occurred_at: int | None = None
    received_at: int | None = None
    resolved_at: int | None = None
    deadline_at: int | None = None
    goal_rule: str | None = None
    goal_appended: bool = False
    attempts: int | None = None
    raw_partition: int | None = None
    raw_offset: int | None = None
    conversion_partition: int | None = None
    conversion_offset: int | None = None
    upload_line: int | None = None
    notes: str | None = None
    corrects: str | None = None
    upload: Upload | None = None
    refused: tuple[Upload, ...] = ()
    obstacles: Obstacles = NO_OBSTACLES
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened: ``at`` epoch milliseconds; ``where`` names a place in a topic, a table or an upload."""

    at: int
    what: str
    where: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLineage:
    """The way of one event.

    ``event_id`` is empty for a body of which no event was made. ``state`` is where it is now: the stage of its row,
    else ``dead_lettered``, ``resolved``, ``waiting``, ``received``, ``noted`` (a deal that is yet to be fetched).
    ``notes`` are sentences about what was not taken as it was sent.
    """

    event_id: str
    state: str
    steps: tuple[Step, ...]
    row: StoredRow | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAsked:
    """A part of the pipeline that could not be asked, or not to the end, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything found for what was asked. ``not_asked`` says who else may know something.

    ``remark`` is about the record at a place that was asked for: gone, or of no event.
    """

    asked: str
    events: tuple[EventLineage, ...]
    truncated: bool = False
    not_asked: tuple[NotAsked, ...] = ()
    remark: str | None = None
