"""The folder of a worker's state: one worker each, and only for the topics it was built from."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from runtime.failures import Fatal
from runtime.logs import logger

# Raise it when the meaning of what the store holds changes.
STATE_VERSION: Final = 2
_WORKERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a state was built from: another partition count puts keys elsewhere, another topic holds other records."""

    partitions: int
    topic_ids: Mapping[str, str]
    version: int = STATE_VERSION


class StateRefused(Fatal):
    """The folder holds a state that this version or this cluster cannot go on with."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(
            f"{folder}: {problem} Delete this folder: the state is rebuilt from its topics at the next start."
        )


class Folder:
    """A worker's folder below the state directory, locked as long as the worker lives.

    Workers of one host take the first free one of ``worker-0``, ``worker-1``, ..., so each has its own and a restarted
    worker finds the state of the one that ended.
    """

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    def partition(self, number: int) -> Path:
        """Where the state of a partition is."""
        return self.path / f"partition-{number}"

    def release(self) -> None:
        """Let another worker have it."""
        self._lock.close()


def claim(directory: Path, identity: Identity) -> Folder:
    """Take a free worker folder for a state of ``identity``. A state of topics that are no more is thrown away.

    Raises:
        StateRefused: the folder's state has another partition count or another version.
        Fatal: no folder is free.
    """
    for number in range(_WORKERS):
        path = directory / f"worker-{number}"
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        try:
            _identify(path, identity)
        except Exception:
            lock.close()
            raise
        return Folder(path, lock)
    raise Fatal(f"{directory} has {_WORKERS} workers already. Give this one its own GOALPOST_STATE_DIR.")


def _identify(path: Path, identity: Identity) -> None:
    named = path / "identity.json"
    wanted = asdict(identity)
    found = _found(named, wanted)
    if found == wanted and named.exists():
        return
    if found is not None and found["version"] != identity.version:
        raise StateRefused(path, f"its state has version {found['version']}, this program needs {identity.version}.")
    if found is not None and found["partitions"] != identity.partitions:
        problem = f"its state was built from {found['partitions']} partitions, the topics have {identity.partitions}."
        raise StateRefused(path, problem)
    if found != wanted:
        reason = "nobody can read what it was built from" if found is None else "its topics were deleted and made again"
        logger().warning("state.discarded", folder=str(path), reason=reason)
        for partition in path.glob("partition-*"):
            shutil.rmtree(partition)
    draft = named.with_suffix(".new")
    draft.write_text(json.dumps(wanted))
    draft.replace(named)


def _found(named: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the state was built from: ``wanted`` if it is new, ``None`` if the file is no such thing."""
    if not named.exists():
        return wanted
    try:
        found = json.loads(named.read_text())
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() == wanted.keys() else None
