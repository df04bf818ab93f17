"""The request as Metrika documents it, byte for byte, and made while it is sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from sinks.metrika.answers import Accepted, Refused, Throttled, TooLong, Unclear
from sinks.metrika.client import Metrika, _Timed
from sinks.metrika.conversions import IdType, Line, csv_chunks
from sinks.metrika.form import FileChanged, Form, fingerprint

# Metrika documentation, "Offline conversions": the body of its example request.
SAMPLE = b"ClientId,Target,DateTime\n133591247640966458,GOAL1,1481718166\n"
BOUNDARY = "goalpost00000000000000000000000000000007"


def form(*, sent: bytes = SAMPLE, expected: bytes = SAMPLE) -> Form:
    """A form whose file was ``expected`` when it was prepared and is ``sent`` now."""
    return Form(boundary=BOUNDARY, file=lambda: [sent], expected=fingerprint([expected]))


def test_the_body_is_the_documented_form() -> None:
    assert b"".join(form()) == (
        b"--goalpost00000000000000000000000000000007\r\n"
        b'Content-Disposition: form-data; name="file"; filename="data.csv"\r\n'
        b"Content-Type: text/csv\r\n"
        b"\r\n" + SAMPLE + b"\r\n"
        b"--goalpost00000000000000000000000000000007--\r\n"
    )


def test_it_is_what_the_documented_python_sample_sends() -> None:
    """The sample: ``requests.post(url, headers=headers, files={"file": file})``."""
    files = {"file": ("data.csv", SAMPLE, "text/csv")}
    sample = requests.Request("POST", "http://metrika.example/", files=files).prepare()
    assert isinstance(sample.body, bytes)
    boundary = sample.headers["Content-Type"].partition("boundary=")[2]
    ours = form()
    assert b"".join(ours).replace(BOUNDARY.encode(), boundary.encode()) == sample.body
    assert ours.content_type.replace(BOUNDARY, boundary) == sample.headers["Content-Type"]


def test_its_length_is_known_before_it_is_made_and_it_can_be_made_again() -> None:
    ours = form()
    assert len(ours) == len(b"".join(ours)) == len(b"".join(ours))


def test_a_file_that_has_changed_breaks_off_before_its_end() -> None:
    pieces = iter(form(sent=SAMPLE.replace(b"GOAL1", b"GOAL2")))
    assert b"--goalpost00000000000000000000000000000007--" not in next(pieces) + next(pieces)
    with pytest.raises(FileChanged):
        next(pieces)


class _Recorder(BaseHTTPRequestHandler):
    """Answers every upload with the next of the server's answers and keeps what it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server: _Server = self.server  # type: ignore[assignment]  # http.server types its own class
        server.requests.append((self.requestline, dict(self.headers), body))
        status, headers, answer = server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Tests read what they need."""


class _Server(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recorder)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []


@pytest.fixture(name="server")
def _server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _client(server: _Server) -> Metrika:
    return Metrika(f"http://127.0.0.1:{server.server_port}", answer_seconds=5)


def test_the_request_has_the_documented_address_and_headers(server: _Server) -> None:
    server.answers = [(200, {}, b'{"uploading": {"id": 88, "status": "PREPARED"}}')]
    answer = _client(server).upload(44147844, "y0_token", form=form(), comment=BOUNDARY)
    assert isinstance(answer, Accepted)
    ((line, headers, body),) = server.requests
    assert line == f"POST /management/v1/counter/44147844/offline_conversions/upload?comment={BOUNDARY} HTTP/1.1"
    assert headers["Authorization"] == "OAuth y0_token"
    assert headers["Content-Type"] == f"multipart/form-data; boundary={BOUNDARY}"
    assert headers["Content-Length"] == str(len(body))
    assert "Transfer-Encoding" not in headers
    assert body == b"".join(form())


def test_answers_and_their_retry_after_reach_the_caller(server: _Server) -> None:
    server.answers = [
        (429, {"Retry-After": "7"}, b'{"errors": [{"error_type": "quota_requests_by_ip"}]}'),
        (400, {}, b'{"errors": [{"error_type": "invalid_uploading", "message": "line 2"}]}'),
        (200, {}, b"<html>a proxy's login page</html>"),
    ]
    client = _client(server)
    answers = [client.upload(1, "t", form=form(), comment="c") for _ in range(3)]
    assert answers[0] == Throttled(
        error_type="quota_requests_by_ip", message="HTTP 429 quota_requests_by_ip", retry_after_seconds=7
    )
    assert answers[1] == Refused(message="HTTP 400 invalid_uploading line 2", error_type="invalid_uploading")
    assert isinstance(answers[2], Unclear)


def test_a_changed_file_is_never_sent_whole(server: _Server) -> None:
    changed = form(sent=SAMPLE.replace(b"GOAL1", b"GOAL2"))
    assert isinstance(_client(server).upload(1, "t", form=changed, comment="c"), Unclear)
    assert all(not body.endswith(b"--\r\n") for _, _, body in server.requests)


def test_a_file_that_cannot_be_sent_in_time_is_broken_off_and_said_to_be_too_long(server: _Server) -> None:
    server.answers = [(200, {}, b'{"uploading": {"id": 88}}')]
    hasty = Metrika(f"http://127.0.0.1:{server.server_port}", answer_seconds=0.2)

    def slowly() -> Iterator[bytes]:
        for chunk in (SAMPLE[:10], SAMPLE[10:20], SAMPLE[20:]):
            yield chunk
            threading.Event().wait(0.11)

    slow = Form(boundary=BOUNDARY, file=slowly, expected=fingerprint([SAMPLE]))
    assert isinstance(hasty.upload(1, "t", form=slow, comment="c"), TooLong)


def test_a_file_whose_end_was_sent_late_may_have_been_taken() -> None:
    """Said to be too long it would be divided, and sent a second time in its parts."""
    pieces = iter(_Timed(form(), 0.05))
    assert b"".join(next(pieces) for _ in range(3)).endswith(b"--\r\n")
    threading.Event().wait(0.06)  # as a server that takes the last piece slowly
    assert next(pieces, None) is None


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"],
    ids=["headers", "a body without end", "a body with a length"],
)
def test_an_answer_that_comes_byte_by_byte_is_broken_off(begin: bytes) -> None:
    """No timeout of a socket ends it, and it would hold one of the account's three requests for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(begin)
                with suppress(OSError):
                    while True:
                        connection.sendall(b"x")
                        threading.Event().wait(0.02)

        server = threading.Thread(target=drip)
        server.start()
        client = Metrika(f"http://127.0.0.1:{listener.getsockname()[1]}", answer_seconds=0.1)
        assert client.uploadings(1, "t", offset=0) == Unclear(message="the answer does not end")
        server.join(5)
        assert not server.is_alive()


def test_a_large_file_is_made_while_it_is_sent(server: _Server) -> None:
    """The pieces are asked for one by one; nothing keeps the file."""
    alive: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number, piece in enumerate(
            csv_chunks(IdType.CLIENT_ID, (Line("1", "g", n, None, None) for n in range(50_000)))
        ):
            alive.append(number)
            yield piece

    body = Form(boundary=BOUNDARY, file=pieces, expected=fingerprint(pieces()))
    server.answers = [(200, {}, b'{"uploading": {"id": 88, "status": "PREPARED"}}')]
    assert isinstance(_client(server).upload(1, "t", form=body, comment="c"), Accepted)
    assert server.requests[0][2].count(b"\n1,g,") == 50_000
    assert alive.count(0) == 2  # once to know its length, once to send it
