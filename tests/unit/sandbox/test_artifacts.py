"""The lock file, the cache, and what people are told when something is missing."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox import artifacts, downloads, repositories
from sandbox.artifacts import Artifact, ArtifactsMissing, Program
from sandbox.postgres import Postgres


def an_artifact(coordinate: str, content: bytes) -> Artifact:
    return Artifact(coordinate=coordinate, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def an_archive(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


JAR = b"bytes of a jar"
ARCHIVE = an_archive("lib/inner.jar", JAR)
PROGRAM = Program(
    name="program",
    version="1.0",
    artifacts=(an_artifact("org.example:program:1.0", JAR), an_artifact("org.example:app:1.0:tar.gz:all", ARCHIVE)),
)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for a Maven repository: `Download` reads its files instead of the network."""
    root = tmp_path / "repository"
    for artifact, content in zip(PROGRAM.artifacts, (JAR, ARCHIVE), strict=True):
        path = root / artifact.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def append(download: downloads.Download, url: str, *_: object) -> None:
        source = Path(url.removeprefix("folder:"))
        if not source.exists():
            raise DOWNLOAD_FAILED
        download.target.with_name(download.target.name + ".part").write_bytes(source.read_bytes())

    monkeypatch.setattr(repositories, "addresses", lambda _: [f"folder:{root}"])
    monkeypatch.setattr(downloads.Download, "_append", append)
    monkeypatch.setattr(downloads, "FIRST_PAUSE_SECONDS", 0.001)
    return root


DOWNLOAD_FAILED = downloads.DownloadFailed("no such file")


def no_network(_: Path) -> list[str]:
    raise AssertionError("the network was asked")


def test_the_path_in_a_repository_is_mavens() -> None:
    assert PROGRAM.artifacts[0].path == "org/example/program/1.0/program-1.0.jar"
    assert PROGRAM.artifacts[1].path == "org/example/app/1.0/app-1.0-all.tar.gz"


def test_the_lock_pins_everything_by_size_and_checksum_and_names_no_host() -> None:
    locked = artifacts.programs()
    assert set(locked) == {"kafka", "registry"}
    for program in locked.values():
        assert program.version in program.artifacts[-1].coordinate or program.name == "kafka"
        assert all(len(artifact.sha256) == 64 and artifact.size_bytes > 0 for artifact in program.artifacts)
        names = [Path(artifact.path).name for artifact in program.artifacts]
        assert len(names) == len(set(names)), "two files of one folder have the same name"
    assert "://" not in artifacts.LOCK.read_text()


def test_a_program_is_downloaded_unpacked_and_then_used_without_network(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    folder = artifacts.provide([PROGRAM], cache=tmp_path / "cache", report=said.append)["program"]
    assert (folder / "program-1.0.jar").read_bytes() == JAR
    assert (folder / "lib" / "inner.jar").read_bytes() == JAR
    assert not list(folder.glob("*.tar.gz"))
    assert said[0].startswith("downloading program 1.0")

    monkeypatch.setattr(repositories, "addresses", no_network)
    said.clear()
    assert artifacts.provide([PROGRAM], cache=tmp_path / "cache", report=said.append) == {"program": folder}
    assert said == []


def test_what_is_missing_is_said_with_what_to_do(served: Path, tmp_path: Path) -> None:
    (served / PROGRAM.artifacts[0].path).unlink()
    with pytest.raises(ArtifactsMissing, match=r"program 1\.0 .*GOALPOST_CACHE_DIR.*KAFKA_BOOTSTRAP_SERVERS"):
        artifacts.provide([PROGRAM], cache=tmp_path / "cache", report=lambda _: None)
    assert not PROGRAM.folder(tmp_path / "cache").exists(), "a program with a file missing was shown as whole"


def test_what_was_downloaded_before_a_failure_is_kept(served: Path, tmp_path: Path) -> None:
    jar = served / PROGRAM.artifacts[0].path
    jar.rename(tmp_path / "aside.jar")
    with pytest.raises(ArtifactsMissing):
        artifacts.provide([PROGRAM], cache=tmp_path / "cache", report=lambda _: None)
    (tmp_path / "aside.jar").rename(jar)
    (served / PROGRAM.artifacts[1].path).unlink()
    assert artifacts.provide([PROGRAM], cache=tmp_path / "cache", report=lambda _: None)


def test_other_files_of_the_same_version_get_another_folder(tmp_path: Path) -> None:
    other = Program(name="program", version="1.0", artifacts=(an_artifact("org.example:program:1.0", b"changed"),))
    assert other.folder(tmp_path) != PROGRAM.folder(tmp_path)


def test_of_two_at_one_cache_only_one_downloads(served: Path, tmp_path: Path) -> None:
    # The lock belongs to the opened file, so two threads stand for two processes.
    said: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(artifacts.provide, [PROGRAM], cache=tmp_path / "cache", report=said.append) for _ in range(2)
        ]
    assert both[0].result() == both[1].result()
    assert sum(line.startswith("downloading") for line in said) == 1


def test_the_cache_folder_can_be_set(tmp_path: Path) -> None:
    assert artifacts.cache_folder({"GOALPOST_CACHE_DIR": str(tmp_path)}) == tmp_path
    assert artifacts.cache_folder({}).name == "goalpost"


def test_the_postgres_binaries_are_found_without_importing_their_package(tmp_path: Path) -> None:
    program = Path(Postgres(folder=tmp_path, port=1).command.argv[0])
    assert os.access(program, os.X_OK)
