"""What goalpost keeps on disk is its owner's alone: bodies of requests, sessions, secrets, logs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# For the umask: no right for the group, none for others.
OTHERS: Final = 0o077
_OWNERS: Final = 0o700


def keep_private() -> None:
    """Let this process, and what it starts, make files for its own user only."""
    os.umask(OTHERS)


def make_private(folder: Path) -> None:
    """Take the group's and others' rights off everything below ``folder`` and off itself; for what is there already."""
    _take_off(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _take_off(Path(parent, name))


def _take_off(path: Path) -> None:
    with suppress(FileNotFoundError):  # a process that is just ending tidies up
        mode = path.lstat().st_mode
        if mode & OTHERS and not path.is_symlink():
            path.chmod(mode & _OWNERS)
