"""Downloads against a server on loopback that breaks off, lies, and is not always there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox import downloads
from sandbox.downloads import Download, DownloadFailed

CONTENT = bytes(range(256)) * 4096
NAME = "program.jar"


@dataclass
class Repository:
    """A file server: `cuts` are lengths after which it breaks off, one per answer; then it behaves."""

    content: bytes = CONTENT
    cuts: list[int] = field(default_factory=list)
    honours_ranges: bool = True
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def repository() -> Iterator[Repository]:
    served = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.ranges.append(asked)
            if not self.path.endswith(NAME):
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.honours_ranges else 0
            body = served.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: served.cuts.pop(0)] if served.cuts else body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "FIRST_PAUSE_SECONDS", 0.001)


def fetch(target: Path, *urls: str, cancelled: threading.Event | None = None) -> int:
    """Run the download and return how many bytes it said it had got."""
    counted: list[int] = []
    download = Download(target, size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    download.run(urls, advance=counted.append, cancelled=cancelled or threading.Event())
    return sum(counted)


def test_a_download_is_the_file_and_leaves_nothing_else(repository: Repository, tmp_path: Path) -> None:
    assert fetch(tmp_path / NAME, repository.url) == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_download_that_breaks_off_goes_on_where_it_was(repository: Repository, tmp_path: Path) -> None:
    repository.cuts = [300_000, 400_000]
    assert fetch(tmp_path / NAME, repository.url) == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [asked is not None for asked in repository.ranges] == [False, True, True]


def test_a_download_that_was_interrupted_goes_on_in_the_next_process(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:500_000])
    assert fetch(tmp_path / NAME, repository.url) == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert repository.ranges == ["bytes=500000-"]


def test_a_server_without_ranges_is_read_from_the_start(repository: Repository, tmp_path: Path) -> None:
    repository.honours_ranges = False
    repository.cuts = [300_000]
    assert fetch(tmp_path / NAME, repository.url) == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_part_of_something_else_is_thrown_away(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 500_000)
    assert fetch(tmp_path / NAME, repository.url) == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_with_another_checksum_never_appears(repository: Repository, tmp_path: Path) -> None:
    repository.content = CONTENT[::-1]
    with pytest.raises(DownloadFailed, match="sha256"):
        fetch(tmp_path / NAME, repository.url)
    assert not (tmp_path / NAME).exists()


def test_a_damaged_file_is_replaced(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    fetch(tmp_path / NAME, repository.url)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_whole_file_is_not_asked_for_again(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(tmp_path / NAME, repository.url) == len(CONTENT)
    assert repository.ranges == []


def test_the_next_repository_is_asked_when_one_does_not_have_it(repository: Repository, tmp_path: Path) -> None:
    fetch(tmp_path / NAME, repository.url.replace(NAME, "elsewhere.jar"), repository.url)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_nobody_there_is_said_with_the_file_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=rf"{NAME}: ConnectionError"):
        fetch(tmp_path / NAME, "http://127.0.0.1:9/program.jar")


def test_a_cancelled_download_stops(repository: Repository, tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(DownloadFailed, match="interrupted"):
        fetch(tmp_path / NAME, repository.url, cancelled=cancelled)
    assert not (tmp_path / NAME).exists()
