"""What an error of Postgres means for the caller: wait, try again, refuse the row, or stop.

Pure. Source of the codes: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Trouble(Enum):
    """What the caller should do about an error."""

    OUTAGE = auto()
    """The server cannot work now: wait and try again, with a new connection."""
    CONTENTION = auto()
    """Another transaction was in the way: try again at once."""
    BAD_DATA = auto()
    """The server works and refuses this content: it will refuse it again."""
    MISCONFIGURED = auto()
    """Tables, columns or rights are not as the code expects: a person has to act."""


# Most specific first: whole codes before their two-letter classes.
_CODES: Final = {
    "40P01": Trouble.CONTENTION,  # deadlock detected
    "40001": Trouble.CONTENTION,  # serialization failure
    "55P03": Trouble.CONTENTION,  # lock not available
    "25006": Trouble.OUTAGE,  # read-only transaction: a failover is under way
    "25P03": Trouble.OUTAGE,  # idle in transaction too long: we were frozen; the connection is gone
    "428C9": Trouble.BAD_DATA,  # a value for a generated column
}
_CLASSES: Final = {
    "08": Trouble.OUTAGE,  # connection
    "53": Trouble.OUTAGE,  # disk full, out of memory, too many connections
    "55": Trouble.OUTAGE,  # object not in the state that is needed
    "57": Trouble.OUTAGE,  # shut down, starting up, canceled by a timeout
    "58": Trouble.OUTAGE,  # input or output failed
    "40": Trouble.CONTENTION,
    "21": Trouble.BAD_DATA,
    "22": Trouble.BAD_DATA,  # a value out of range or malformed
    "23": Trouble.BAD_DATA,  # a constraint: unknown webhook, missing value
    "44": Trouble.BAD_DATA,
    "54": Trouble.BAD_DATA,  # a value too large for an index or a document
    "P0": Trouble.BAD_DATA,  # raised by a trigger of the site's owner
}


def trouble_of(sqlstate: str | None) -> Trouble:
    """Return what ``sqlstate`` means; without a code the connection itself failed."""
    if sqlstate is None:
        return Trouble.OUTAGE
    return _CODES.get(sqlstate) or _CLASSES.get(sqlstate[:2]) or Trouble.MISCONFIGURED
