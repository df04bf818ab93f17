"""One upload as Metrika reports it: what was counted when it came in, and the status that its age gives it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.csv_file import BadFile, BadRow, Row
from sandbox.metrika.site import Audience, Linking


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the client said about its file. `client_id_type` is a legacy parameter that most leave out."""

    counter: int
    type: str
    client_id_type: str | None
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by what became of them.

    A row of an unknown goal and an unknown visitor counts in both `*_not_found`, one whose visitor came too long ago in
    neither.
    """

    source: int
    line: int
    goal_not_found: int
    user_not_found: int
    linked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploading:
    """An accepted upload; `accepted_at` is in epoch seconds."""

    id: int
    counter: int
    type: str
    client_id_type: str
    comment: str
    accepted_at: float
    counts: Counts


# The documented values; none is documented for PurchaseId.
CLIENT_ID_TYPES = {"ClientId": "CLIENT_ID", "UserId": "USER_ID", "Yclid": "YCLID"}


class Intake:
    """Separates good rows from bad ones and counts, while a file streams through."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._configuration = audience.configuration
        self.client_id_type = "CLIENT_ID"
        self._source = self._line = self._goal_not_found = self._user_not_found = self._linked = 0

    def admit(self, found: Iterable[Row | BadRow | BadFile]) -> list[Row] | BadRow | BadFile:
        """The good rows, or the reason why the whole file is refused."""
        rows: list[Row] = []
        for entry in found:
            match entry:
                case Row():
                    self._count(entry)
                    rows.append(entry)
                case BadFile():
                    return entry
                case BadRow():
                    if self._configuration.bad_row == "refuses_file":
                        return entry
                    self._source += 1
                case _:
                    assert_never(entry)
        return rows

    def counts(self) -> Counts:
        """What has been counted so far."""
        return Counts(
            source=self._source,
            line=self._line,
            goal_not_found=self._goal_not_found,
            user_not_found=self._user_not_found,
            linked=self._linked,
        )

    def _count(self, row: Row) -> None:
        if not self._line:
            self.client_id_type = CLIENT_ID_TYPES.get(row.identifier[0], self.client_id_type)
        goal_found, linking = self._audience.has_goal(row.target), self._audience.link(row)
        self._source += 1
        self._line += 1
        self._goal_not_found += not goal_found
        self._user_not_found += linking is Linking.USER_NOT_FOUND
        self._linked += goal_found and linking is Linking.LINKED


def status(uploading: Uploading, now: float, configuration: Configuration) -> str:
    """The status at `now`; LINKAGE_FAILURE is "not one visitor identifier could be matched"."""
    age = now - uploading.accepted_at
    if age >= configuration.processed_after_seconds:
        nobody = uploading.counts.user_not_found == uploading.counts.line
        return "LINKAGE_FAILURE" if nobody else "PROCESSED"
    if age >= configuration.matched_after_seconds:
        return "MATCHED"
    if age >= configuration.exported_after_seconds:
        return "EXPORTED"
    return "UPLOADED" if age >= configuration.uploaded_after_seconds else "PREPARED"


def as_json(uploading: Uploading, now: float, configuration: Configuration) -> dict[str, Any]:
    """The documented object. Visitors and goals are counted from MATCHED on, links once processing has ended."""
    current = status(uploading, now, configuration)
    processed = current in ("PROCESSED", "LINKAGE_FAILURE")
    matched = processed or current == "MATCHED"
    counts = uploading.counts
    return {
        "id": uploading.id,
        "create_time": datetime.fromtimestamp(uploading.accepted_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source_quantity": counts.source,
        "line_quantity": counts.line,
        "comment": uploading.comment,
        "type": uploading.type,
        "client_id_type": uploading.client_id_type,
        "status": current,
        "goal_not_found_quantity": counts.goal_not_found if matched else 0,
        "user_not_found_quantity": counts.user_not_found if matched else 0,
        "linked_quantity": counts.linked if processed else 0,
    }
