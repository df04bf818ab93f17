"""The small process between goalpost and one server: no server outlives the process that started it.

Run by `leash.py` as `python -I -S warden.py SOCKET GRACE STOP_SIGNAL UID GID CAPABILITY COMMAND...`. The socket is the
leash: its end of file, or a changed parent, means that goalpost is gone for whatever reason (`kill -9` included). Then
the server gets its stop signal, `GRACE` seconds to obey, and `SIGKILL`. Should this process be killed instead, the
kernel kills the server (Linux). Whatever the server leaves behind in processes is killed before this process exits.

The way in: one byte per signal number to send to the server. The way out: the server's process id, once, as text.
The exit code is the server's own; 128 + n when signal n ended it; 127 when it could not be started.
It imports little on purpose: several of them start at every start of the sandbox.
"""

import contextlib
import ctypes
import os
import select
import signal
import struct
import sys
import time

# How often to look at what sends no event: a parent that is gone while a forked copy of it still holds the leash.
LOOK_SECONDS = 0.5
COULD_NOT_START = 127
NONE = -1

# From <linux/prctl.h> and <linux/capability.h>.
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ask_kernel(option: int, *arguments: int) -> None:
    """Calls prctl(2), which exists on Linux only; elsewhere the leash alone has to do."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
        if libc.prctl(option, *padded) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) was refused")


def keep_capability(capability: int) -> None:
    """Keeps one capability of root's over the change of user, for the server and for its own children."""
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    low, high = (1 << capability, 0) if capability < 32 else (0, 1 << capability - 32)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, struct.pack("=6I", low, low, low, high, high, high)) != 0:
        raise OSError(ctypes.get_errno(), f"capset({capability}) was refused")
    ask_kernel(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def become(uid: int, gid: int, capability: int) -> None:
    """Leaves root for good, keeping at most one capability."""
    if capability != NONE:
        ask_kernel(PR_SET_KEEPCAPS, 1)
        # Else access(2) would go on saying no where open(2) says yes. Refused to a root that is short of rights itself.
        with contextlib.suppress(OSError):
            ask_kernel(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability != NONE:
        keep_capability(capability)


def turn_into(command: list[str], warden: int, kept: int, uid: int, gid: int, capability: int) -> None:
    """Makes the forked process the server; returns only when that is impossible. `kept` is closed by doing it."""
    os.setsid()
    if uid != NONE:
        become(uid, gid, capability)
    # After the change of user, which clears it.
    ask_kernel(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warden:
        return
    for number in (*ENDING_SIGNALS, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 16)
    os.execvp(command[0], command)  # noqa: S606 - a server is what we start, and never through a shell


def start(command: list[str], uid: int, gid: int, capability: int) -> int:
    """Starts the server in a session of its own and returns its process id as soon as it is the server's."""
    warden = os.getpid()
    done, undone = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            turn_into(command, warden, undone, uid, gid, capability)
        except OSError as error:
            os.write(2, f"could not start {command[0]}: {error}\n".encode())
        finally:
            os._exit(COULD_NOT_START)
    os.close(undone)
    # A signal sent before this would meet our own handling of it, not the server's.
    os.read(done, 1)
    os.close(done)
    return pid


def children() -> list[int]:
    """Process ids whose parent this process is: as subreaper it inherits what the server leaves behind (Linux)."""
    found = []
    for entry in os.scandir("/proc") if sys.platform == "linux" else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                file = os.open(f"{entry.path}/stat", os.O_RDONLY)
                parent = os.read(file, 4096).rpartition(b")")[2].split()[1]
                os.close(file)
                if int(parent) == os.getpid():
                    found.append(int(entry.name))
    return found


def send(pid: int, number: int) -> None:
    """Sends a signal to a child that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def clear_up(server: int) -> None:
    """Kills whatever the ended server left behind, and waits until none of it is there any more."""
    if sys.platform != "linux":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(server, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            for orphan in children():
                send(orphan, signal.SIGKILL)
            os.waitpid(-1, 0)


class Watch:
    """Follows one server to its end, obeying the leash."""

    def __init__(self, leash: int, server: int, stop_signal: int, grace_seconds: float) -> None:
        self.leash = leash
        self.server = server
        self.stop_signal = stop_signal
        self.grace_seconds = grace_seconds
        self.parent = os.getppid()
        self.kill_at: float | None = None
        self.wake, woken = os.pipe()
        os.set_blocking(woken, False)
        # The handler does nothing, but without one Python would not write to the wake-up pipe.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken)

    def until_end(self) -> int:
        """Returns the server's exit code."""
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == self.server:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if ended == 0:
                self._wait()

    def _wait(self) -> None:
        watched = [self.wake] if self.kill_at is not None else [self.wake, self.leash]
        readable = select.select(watched, [], [], LOOK_SECONDS)[0]
        if self.wake in readable:
            os.read(self.wake, 64)
        if self.leash in readable:
            self._obey(self._read())
        elif self.kill_at is None and os.getppid() != self.parent:
            self._obey(b"")
        elif self.kill_at is not None and time.monotonic() >= self.kill_at:
            send(self.server, signal.SIGKILL)

    def _read(self) -> bytes:
        try:
            return os.read(self.leash, 64)
        except ConnectionResetError:
            return b""

    def _obey(self, asked: bytes) -> None:
        for number in asked:
            send(self.server, number)
        if not asked:
            send(self.server, self.stop_signal)
            self.kill_at = time.monotonic() + self.grace_seconds


def main(arguments: list[str]) -> int:
    """Starts the server, publishes its process id, and stays until it has ended."""
    leash, grace_seconds, stop_signal, uid, gid, capability = arguments[:6]
    ask_kernel(PR_SET_CHILD_SUBREAPER, 1)
    # What ends goalpost's other processes must not end the one that is there to clear up.
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    server = start(arguments[6:], int(uid), int(gid), int(capability))
    watch = Watch(int(leash), server, int(stop_signal), float(grace_seconds))
    # Goalpost may be gone already; the watch is about to notice.
    with contextlib.suppress(OSError):
        os.write(int(leash), f"{server}\n".encode())
    code = watch.until_end()
    clear_up(server)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
