"""A process that never outlives this one: however this process ends, `kill -9` included, so does what it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runtime.private_files import OTHERS
from sandbox import warden

# Where an interpreter may have to look for its own libraries, although nothing else is inherited.
INTERPRETER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# A server that misses its stop signal for this long after goalpost's own end is killed.
ORPHAN_GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user that a process runs as, and the one capability of root's that it keeps (see capabilities(7))."""

    uid: int
    gid: int
    capability: int = warden.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start: program and arguments, environment (nothing is inherited), working folder, user."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    identity: Identity | None = None


class Leash:
    """One running process and the way to end it. Not shared between threads while `stop` runs."""

    def __init__(self, command: Command, *, output: BinaryIO, keep_open: Sequence[int] = ()) -> None:
        """Starts the process.

        `output` gets what it writes to both of its streams. `keep_open` are file descriptors that stay open until the
        process and its warden have ended, so that a lock on one of them says whether anything is left.
        Raises OSError when the interpreter itself cannot be started; a command that cannot be started ends with 127.
        """
        self._stop_signal = command.stop_signal
        self._line, theirs = socket.socketpair()
        identity = command.identity or Identity(uid=warden.NONE, gid=warden.NONE)
        settings = (
            theirs.fileno(),
            ORPHAN_GRACE_SECONDS,
            int(command.stop_signal),
            identity.uid,
            identity.gid,
            identity.capability,
        )
        inherited = {name: os.environ[name] for name in INTERPRETER_VARIABLES if name in os.environ}
        with theirs:
            self._warden = subprocess.Popen(
                (sys.executable, "-I", "-S", warden.__file__, *map(str, settings), *command.argv),
                env=inherited | dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(), *keep_open),
                start_new_session=True,
                umask=OTHERS,
            )
        with self._line.makefile("rb") as answer:
            self.pid = int(answer.readline() or warden.NONE)

    def poll(self) -> int | None:
        """The exit code (128 + n after signal n), or None while anything of the process is there."""
        return self._warden.poll()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to exactly the process with `pid`, if it still runs."""
        with contextlib.suppress(OSError):
            self._line.send(bytes([number]))

    def wait(self, seconds: float) -> int | None:
        """Waits for the end; returns the exit code, or None when the time is over."""
        try:
            return self._warden.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Ends the process without asking it, and returns when it and all its children are gone."""
        self.send(signal.SIGKILL)
        self._warden.wait()
        self._line.close()

    def stop(self, seconds: float) -> None:
        """Asks the process to end, gives it that many seconds, then kills it."""
        self.send(self._stop_signal)
        self.wait(seconds)
        self.kill()


def alive(pid: int) -> bool:
    """Whether a process with this id exists, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
