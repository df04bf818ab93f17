"""What became of the rows that were read, added up page by page, in memory that does not grow with the table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# The first rows of each reason are named in the summary; --unusable writes all of them.
NAMED_ROWS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Rows that cannot become sessions for one reason; ``with_visitor`` of them have a usable ym_uid."""

    rows: int
    with_visitor: int
    ids: tuple[str, ...]

    @classmethod
    def one(cls, row_id: str, *, visitor: bool) -> Unusable:
        """A single row."""
        return cls(rows=1, with_visitor=int(visitor), ids=(row_id,))

    def plus(self, other: Unusable) -> Unusable:
        """Both together."""
        return Unusable(
            rows=self.rows + other.rows,
            with_visitor=self.with_visitor + other.with_visitor,
            ids=(self.ids + other.ids)[:NAMED_ROWS],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """``own`` rows are goalpost's, ``unusable`` ones are counted by reason; the rest are ``sessions``."""

    rows: int = 0
    sessions: int = 0
    without_visitor: int = 0
    own: int = 0
    unusable: Mapping[str, Unusable] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records of ``web.sessions``: one by session, one more by visitor."""
        return 2 * self.sessions - self.without_visitor

    @property
    def unusable_rows(self) -> int:
        """Rows that cannot become sessions, whatever the reason."""
        return sum(part.rows for part in self.unusable.values())

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        unusable = dict(self.unusable)
        for why, part in other.unusable.items():
            unusable[why] = unusable[why].plus(part) if why in unusable else part
        return Counts(
            rows=self.rows + other.rows,
            sessions=self.sessions + other.sessions,
            without_visitor=self.without_visitor + other.without_visitor,
            own=self.own + other.own,
            unusable=unusable,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Counts:
        """Return what :meth:`as_json` described; the empty object is nothing counted."""
        unusable = {
            why: Unusable(rows=part["rows"], with_visitor=part["with_visitor"], ids=tuple(part["ids"]))
            for why, part in content.get("unusable", {}).items()
        }
        return cls(**{**content, "unusable": unusable})
