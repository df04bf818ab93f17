"""How old something may become. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.topics import TOPICS, Topic

_DAY_MS: Final = 86_400_000
# Kafka drops whole segments, by their youngest record; without a setting a segment takes records for a week.
_SEGMENT_MS: Final = 7 * _DAY_MS


def kept_at_most_ms(topic: Topic) -> int:
    """Return how old a record of a topic with a retention time can become before it is gone, in milliseconds."""
    return topic.retention_ms + int(dict(topic.extra_config).get("segment.ms", _SEGMENT_MS))


# A conversion's row is what makes its repeats harmless. As long as a topic may hand the conversion out again (a replay,
# a consumer group that starts over), the row has to be there.
LONGEST_TOPIC_DAYS: Final = max(kept_at_most_ms(topic) for topic in TOPICS if topic.retention_ms > 0) // _DAY_MS

# Metrika links a conversion to a visit of the last 21 days; a session older than that can only explain, not link.
METRIKA_WINDOW_DAYS: Final = 21


class BadPolicy(ValueError):
    """These ages would lose or double something. The message says which and what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Ages in days: personal data of finished conversions, whole rows, sessions that nobody has visited since."""

    anonymise_after: int
    delete_after: int
    sessions_after: int

    def __post_init__(self) -> None:
        if self.delete_after <= LONGEST_TOPIC_DAYS:
            raise BadPolicy(
                f"--delete-after {self.delete_after}: a topic keeps conversions for {LONGEST_TOPIC_DAYS} days, and a "
                f"repeat would be stored and uploaded again without its row; give more than {LONGEST_TOPIC_DAYS}"
            )
        if self.anonymise_after > self.delete_after:
            raise BadPolicy("--anonymise-after is above --delete-after: rows would be gone before; give it less")
        if min(self.anonymise_after, self.sessions_after) <= METRIKA_WINDOW_DAYS:
            raise BadPolicy(
                f"--anonymise-after and --sessions-after have to be above Metrika's window of {METRIKA_WINDOW_DAYS} "
                "days: what may still be uploaded needs its ids"
            )

    def cutoffs(self, now: datetime) -> Cutoffs:
        """Return the moments before which something is too old at ``now``."""
        return Cutoffs(
            anonymise=now - timedelta(days=self.anonymise_after),
            delete=now - timedelta(days=self.delete_after),
            sessions=now - timedelta(days=self.sessions_after),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """The moments before which something is too old."""

    anonymise: datetime
    delete: datetime
    sessions: datetime
