"""Answers past ASGI: head and body in one write, where the server is uvicorn as it is known here.

uvicorn checks each header with regular expressions and writes head and body apart, two packets an answer: a system call
more, and a tenth of the instructions that server and application spend on a request (valgrind). Answers here have fixed
headers. What is not exactly the usual case goes the usual way.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

HeaderPairs = tuple[tuple[bytes, bytes], ...]


def sent_at_once(send: Any, status: int, content_type: bytes, headers: HeaderPairs, body: bytes) -> bool:
    """Send a whole answer to a POST, and return whether that was possible. Values must not hold line ends."""
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.scope["method"] != "POST":
        return False
    if cycle.response_started or cycle.disconnected or not cycle.keep_alive or headers or cycle.flow.write_paused:
        return False
    lines = [STATUS_LINE[status]]
    for name, value in cycle.default_headers:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"content-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (content_type, len(body), body))
    cycle.waiting_for_100_continue = False
    cycle.response_started = True
    cycle.transport.write(b"".join(lines))
    cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True
