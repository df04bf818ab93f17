"""A server at the registry's address that speaks as one, or as whatever else may stand there."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

JSON: Final = "application/vnd.schemaregistry.v1+json"
SCHEMA_ID: Final = 7

# Writes one answer to a connection.
Answer = Callable[[socket.socket], None]


def says(status: int, body: bytes | str | object, content_type: str | None = JSON, **headers: str) -> Answer:
    """Answer with a whole response; anything but bytes and text is written as JSON."""
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(content)}"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def answer(connection: socket.socket) -> None:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    return answer


def sends(raw: bytes) -> Answer:
    """Answer with bytes as they are, and hang up."""
    return lambda connection: connection.sendall(raw)


def resets(connection: socket.socket) -> None:
    """Break the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def drips(raw: bytes, pause: float = 0.2) -> Answer:
    """Answer with a byte now and then, for ever."""

    def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            for byte in raw:
                connection.sendall(bytes([byte]))
                time.sleep(pause)
            while True:
                connection.sendall(b" ")
                time.sleep(pause)

    return answer


def floods(connection: socket.socket) -> None:
    """Answer with JSON that has no end."""
    with suppress(OSError):
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n\r\n".encode() + b'{"schema": "')
        while True:
            connection.sendall(b"x" * 65536)


_HTML: Final = "<html><body>It works!</body></html>"
_DEEP: Final = "[" * 100_000
_HEAD: Final = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: ".encode()

# None of these says anything about a schema.
NO_ANSWERS: Final[Mapping[str, Answer]] = {
    "a page": says(200, _HTML, "text/html"),
    "a page called JSON": says(200, _HTML),
    "JSON called a page": says(200, {"schema": '"string"', "id": 1, "compatibilityLevel": "NONE"}, "text/html"),
    "an empty object": says(200, {}),
    "an empty body": says(200, b""),
    "no content": says(204, b""),
    "a list": says(200, []),
    "null": says(200, None),
    "a text": says(200, '"schema"'),
    "a schema that is no text": says(200, {"schema": {"type": "string"}, "id": "7", "compatibilityLevel": 1}),
    "a schema that is null": says(200, {"schema": None, "id": None, "compatibilityLevel": None}),
    "an id that is none": says(200, {"id": True, "schema": 1}),
    "an id of 5 000 digits": says(200, '{"id": ' + "9" * 5000 + ', "schema": 1}'),
    "a negative id": says(200, {"id": -1}),
    "deep JSON": says(200, _DEEP),
    "NUL": says(200, b"\0" * 100),
    "no UTF-8": says(200, b'{"schema": "\xff"}'),
    "truncated JSON": says(200, '{"schema": "\\"str'),
    "a truncated body": sends(_HEAD + b'500\r\n\r\n{"schema": "'),
    "a gzip that nobody asked for": says(200, gzip.compress(b'{"schema": "1"}'), Content_Encoding="gzip"),
    "a bomb": says(200, gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
    "a moved address": says(301, "", "text/html", Location="https://login.example/"),
    "a login page": says(302, "", "text/html", Location="/login"),
    "a redirect with JSON": says(307, {"schema": '"string"', "id": 1}, Location="/elsewhere"),
    "bad request": says(400, {"error_code": 400, "message": "no"}),
    "unauthorized": says(401, {"error_code": 40101, "message": "Unauthorized"}),
    "forbidden": says(403, {"error_code": 40301, "message": "User is denied"}),
    "a proxy's 404": says(404, "<h1>404 Not Found</h1>nginx", "text/html"),
    "a 404 without a body": says(404, b""),
    "a 404 with another shape": says(404, {"error": "Not Found", "status": 404, "path": "/schemas/ids/7"}),
    "a 404 with its own number": says(404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
    "a 404 with a text as code": says(404, {"error_code": "40403"}),
    "a 404 as a page with the code in it": says(404, '{"error_code": 40403}', "text/html"),
    "the code with another status": says(500, {"error_code": 40403}),
    "the code with 200": says(200, {"error_code": 40403}),
    "a proxy that wants credentials": says(407, "", "text/html"),
    "a timeout of a proxy": says(408, ""),
    "a conflict as a page": says(409, _HTML, "text/html"),
    "gone": says(410, {"error_code": 410}),
    "a wrong type": says(415, {"error_code": 415}),
    "unprocessable as a page": says(422, _HTML, "text/html"),
    "too many requests": says(429, {"error_code": 42901}, Retry_After="1"),
    "an error": says(500, {"error_code": 50001, "message": "Error in the backend data store"}),
    "a bad gateway": says(502, _HTML, "text/html"),
    "not now": says(503, "", Retry_After="1"),
    "a late gateway": says(504, ""),
    "no HTTP": sends(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "TLS": sends(b"\x15\x03\x01\x00\x02\x02\x50"),
    "nothing": sends(b""),
    "half a status line": sends(b"HTTP/1.1 2"),
    "a header of a megabyte": sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n{}"),
    "a thousand headers": sends(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 1000 + b"\r\n{}"),
    "a length that is none": sends(_HEAD + b"many\r\n\r\n{}"),
    "a chunk that is none": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "a reset": resets,
    "a flood": floods,
}
# These take until the deadline, so each costs a test that time.
SLOW_ANSWERS: Final[Mapping[str, Answer]] = {
    "a slow body": drips(_HEAD + b'5000\r\n\r\n{"schema": "'),
    "a slow head": drips(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "continue for ever": drips(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, pause=0.001),
    "silence": lambda _connection: time.sleep(30),
}
UNKNOWN_SCHEMA: Final = says(404, {"error_code": 40403, "message": f"Schema {SCHEMA_ID} not found."})
UNKNOWN_SUBJECT: Final = says(404, {"error_code": 40401, "message": "Subject not found."}, "application/json")


@dataclass
class Double:
    """Answers every request with ``answer``; counts them."""

    url: str
    answer: Answer
    requests: list[str] = field(default_factory=list)


@contextmanager
def registry_double(answer: Answer) -> Iterator[Double]:
    """Serve on a port of this machine until the block ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    double = Double(url=f"http://127.0.0.1:{listening.getsockname()[1]}", answer=answer)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=_answer, args=(connection, double), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def _answer(connection: socket.socket, double: Double) -> None:
    with connection, suppress(OSError):
        connection.settimeout(30)
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(65536)
            if not part:
                return
            head += part
        double.requests.append(head.partition(b"\r\n")[0].decode("latin-1"))
        double.answer(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
