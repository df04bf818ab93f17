"""The Java programs of the sandbox: pinned in `artifacts.lock.json`, downloaded once, verified, then used offline."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import platformdirs

from runtime.failures import Fatal
from sandbox import repositories
from sandbox.downloads import Download, DownloadFailed
from sandbox.progress import MEGABYTE, meter

LOCK = Path(__file__).with_name("artifacts.lock.json")
CACHE_VARIABLE = "GOALPOST_CACHE_DIR"
COMPLETE = ".complete"
PARALLEL_DOWNLOADS = 8


class ArtifactsMissing(Fatal):
    """A program of the sandbox is neither in the cache nor to be had from a Maven repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a Maven repository. `coordinate` is group:name:version, then packaging and classifier if any."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def path(self) -> str:
        """Where a Maven repository keeps it, relative to the repository's base address."""
        group, name, version, packaging, classifier = (*self.coordinate.split(":"), "jar", "")[:5]
        suffix = f"-{classifier}" if classifier else ""
        return f"{group.replace('.', '/')}/{name}/{version}/{name}-{version}{suffix}.{packaging}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is downloaded and kept together: the jars of one program, or one archive that holds them."""

    name: str
    version: str
    artifacts: tuple[Artifact, ...]

    @property
    def size_bytes(self) -> int:
        """What has to be downloaded."""
        return sum(artifact.size_bytes for artifact in self.artifacts)

    def folder(self, cache: Path) -> Path:
        """Its folder in the cache; another set of files is another folder."""
        digest = sha256("".join(artifact.sha256 for artifact in self.artifacts).encode()).hexdigest()
        return cache / f"{self.name}-{self.version}-{digest[:8]}"


def programs() -> dict[str, Program]:
    """The locked programs by name: `kafka` and `registry`."""
    found = {}
    for name, locked in json.loads(LOCK.read_text()).items():
        artifacts = tuple(Artifact(**artifact) for artifact in locked["artifacts"])
        found[name] = Program(name=name, version=locked["version"], artifacts=artifacts)
    return found


def cache_folder(env: Mapping[str, str]) -> Path:
    """GOALPOST_CACHE_DIR, else the user's cache folder as the platform has it. Made when something is put there."""
    return Path(env.get(CACHE_VARIABLE) or platformdirs.user_cache_path("goalpost")).absolute()


def provide(wanted: Sequence[Program], *, cache: Path, report: Callable[[str], None]) -> dict[str, Path]:
    """Returns the folder of each wanted program, by name, downloading what is not there yet.

    Nothing is asked of the network when everything is there. Of two processes at the same cache one downloads and
    the other waits. Raises ArtifactsMissing when something can't be had.
    """
    folders = {program.name: program.folder(cache) for program in wanted}
    if not all((folder / COMPLETE).exists() for folder in folders.values()):
        with _only_one(cache, report):
            missing = [program for program in wanted if not (folders[program.name] / COMPLETE).exists()]
            _download(missing, cache, report)
    return folders


@contextlib.contextmanager
def _only_one(cache: Path, report: Callable[[str], None]) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that is downloading to {cache}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(missing: Sequence[Program], cache: Path, report: Callable[[str], None]) -> None:
    if not missing:
        return
    title = " and ".join(f"{program.name} {program.version}" for program in missing)
    total = sum(program.size_bytes for program in missing)
    report(f"downloading {title} ({total // MEGABYTE} MB, once) to {cache}")
    try:
        with meter(title, total, report) as advance:
            _download_files(missing, cache, advance)
    except DownloadFailed as error:
        raise ArtifactsMissing(
            f"{title} ({total // MEGABYTE} MB) can't be downloaded: {error}. Run it again with a network connection "
            f"(what is already here stays), or copy {cache} from a machine that has it; {CACHE_VARIABLE} sets another "
            "folder. With KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL set, your own servers are used instead."
        ) from error
    for program in missing:
        _install(program, cache)
    report(f"downloaded and verified {title}")


def _download_files(missing: Sequence[Program], cache: Path, advance: Callable[[int], None]) -> None:
    bases = repositories.addresses(Path.home())
    cancelled = threading.Event()
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        wanted = [(artifact, _incoming(program, cache)) for program in missing for artifact in program.artifacts]
        running = []
        # The largest first: it takes the longest.
        for artifact, folder in sorted(wanted, key=lambda pair: -pair[0].size_bytes):
            folder.mkdir(exist_ok=True)
            target = folder / Path(artifact.path).name
            download = Download(target, size_bytes=artifact.size_bytes, sha256=artifact.sha256)
            urls = [f"{base}/{artifact.path}" for base in bases]
            running.append(pool.submit(download.run, urls, advance=advance, cancelled=cancelled))
        try:
            for future in running:
                future.result()
        finally:
            cancelled.set()
            pool.shutdown(cancel_futures=True)


def _incoming(program: Program, cache: Path) -> Path:
    folder = program.folder(cache)
    return folder.with_name(folder.name + ".incoming")


def _install(program: Program, cache: Path) -> None:
    """Unpacks what is an archive, and shows the program under its name only when all of it is there."""
    incoming, folder = _incoming(program, cache), program.folder(cache)
    for path in incoming.glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            # Python before 3.11.4 knows no filters.
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(incoming)  # noqa: S202 - filtered, and its checksum is ours
        path.unlink()
    (incoming / COMPLETE).touch()
    shutil.rmtree(folder, ignore_errors=True)
    incoming.rename(folder)
