"""The SQLite files that outlive the process: one of what was accepted, and beside it one of everything else."""

import sqlite3
from pathlib import Path

# A large file is one transaction, and orders wait for it.
_LONGEST_UPLOAD_SECONDS = 300


def connect(database: Path, tables: str = "") -> sqlite3.Connection:
    """Open a file and make sure that it has these tables. Raises sqlite3.Error when it can't be used."""
    connection = sqlite3.connect(
        database, timeout=_LONGEST_UPLOAD_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    # Write-ahead log: readers go on during a write, and a commit survives the end of the process (not of the machine).
    # Checkpoints, which wait for the disk, are rare: a load run commits a hundred times a second.
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 10000"):
        connection.execute(f"PRAGMA {setting}")
    connection.executescript(tables)
    return connection


def state_file(accepted: Path) -> Path:
    """The file of tokens, quotas and settings beside the one of accepted rows.

    A file of its own, because SQLite has one writer a file: a request must not wait for a large upload to be counted.
    """
    return accepted.with_name(f"{accepted.stem}.state{accepted.suffix}")
