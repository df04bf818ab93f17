"""A pooler in transaction mode, as little of one as shows its mode: each transaction gets the session that is free."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
from psycopg import conninfo, pq

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_HEADER = struct.Struct(">cI")
_IDLE = b"I"


def _message(kind: bytes, body: bytes) -> bytes:
    return _HEADER.pack(kind, len(body) + 4) + body


# The pooler's own greeting: no password, and a key that is no session's.
_GREETING = b"".join(
    (
        _message(b"R", struct.pack(">I", 0)),
        _message(b"S", b"server_version\x0017.0\x00"),
        _message(b"S", b"client_encoding\x00UTF8\x00"),
        _message(b"S", b"standard_conforming_strings\x00on\x00"),
        _message(b"K", struct.pack(">II", 4_000_000, 1)),
        _message(b"Z", _IDLE),
    )
)


class _Sessions:
    """Sessions of the server; the one that was given back last is the next, as with PgBouncer."""

    def __init__(self, url: str, size: int) -> None:
        self._connections = [psycopg.connect(url, autocommit=True) for _ in range(size)]
        self._free = [socket.socket(fileno=os.dup(one.pgconn.socket)) for one in self._connections]
        self._all = list(self._free)
        self._changed = threading.Condition()
        assert all(one.pgconn.status == pq.ConnStatus.OK for one in self._connections)

    def take(self) -> socket.socket:
        with self._changed:
            while not self._free:
                self._changed.wait()
            session = self._free.pop()
        session.setblocking(True)
        return session

    def give_back(self, session: socket.socket) -> None:
        with self._changed:
            self._free.append(session)
            self._changed.notify()

    def close(self) -> None:
        for session in self._all:
            session.close()
        for connection in self._connections:
            connection.close()


@contextmanager
def transaction_pooler(url: str, *, size: int = 3) -> Iterator[str]:
    """Give the address of a pooler before the server of ``url``, with ``size`` sessions."""
    sessions = _Sessions(url, size)
    clients: list[socket.socket] = []
    with closing(sessions), closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                clients.append(client)
                threading.Thread(target=_served, args=(client, sessions), daemon=True).start()

        accepting = threading.Thread(target=serve, daemon=True)
        accepting.start()
        try:
            yield conninfo.make_conninfo(url, host="127.0.0.1", port=listener.getsockname()[1], sslmode="disable")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _served(client: socket.socket, sessions: _Sessions) -> None:
    with closing(client), suppress(OSError, EOFError):
        _greet(client)
        while True:
            request = _until_sync(client)
            session = sessions.take()
            try:
                state = _passed_on(request, client, session)
                while state != _IDLE:
                    state = _passed_on(_until_sync(client), client, session)
            finally:
                sessions.give_back(session)


def _greet(client: socket.socket) -> None:
    while True:
        (length,) = struct.unpack(">I", _exactly(client, 4))
        body = _exactly(client, length - 4)
        if struct.unpack(">I", body[:4])[0] not in (_SSL_REQUEST, _GSS_REQUEST):
            client.sendall(_GREETING)
            return
        client.sendall(b"N")


def _until_sync(client: socket.socket) -> bytes:
    """Read what a client says until it waits for an answer."""
    said = b""
    while True:
        kind, message = _next(client)
        if kind == b"X":
            raise EOFError
        said += message
        if kind in (b"S", b"Q"):
            return said


def _passed_on(request: bytes, client: socket.socket, session: socket.socket) -> bytes:
    """Pass a request on, and the answer back; return whether the session is in a transaction after it."""
    session.sendall(request)
    while True:
        kind, message = _next(session)
        client.sendall(message)
        if kind == b"Z":
            return message[-1:]


def _next(source: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(source, _HEADER.size)
    kind, length = _HEADER.unpack(head)
    return kind, head + _exactly(source, length - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(source, selectors.EVENT_READ)
        while len(data) < count:
            waiting.select()
            try:
                part = source.recv(count - len(data))
            except BlockingIOError:
                continue
            if not part:
                raise EOFError
            data += part
    return data
