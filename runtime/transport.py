"""Requests that end: a server that sends a byte now and then never meets the timeout of a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter


class Connections(HTTPAdapter):
    """Knows the sockets that it has opened, so that another thread can break them off."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: list[socket.socket] = []
        self.broken_off = False

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return the pool of a request, whose connections are noted."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        make = pool.ConnectionCls
        pool.ConnectionCls = lambda **about: self._noted(make(**about))
        return pool

    @property
    def came_about(self) -> bool:
        """Whether there was a connection, its TLS included; before that nothing can have been sent."""
        return bool(self._sockets)

    def break_off(self) -> None:
        """End what is under way; whoever waits for it sees the connection end."""
        self.broken_off = True
        for opened in self._sockets:
            with suppress(OSError):  # it has ended by itself
                # The socket's own, not that of TLS, which would wait for the other side.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def _noted(self, connection: Any) -> Any:
        # The socket, because a connection forgets it while its answer is still being read.
        connect = connection.connect

        def connect_and_note() -> None:
            connect()
            self._sockets.append(connection.sock)
            if self.broken_off:
                self.break_off()

        connection.connect = connect_and_note
        return connection


class BrokenOff(requests.RequestException):
    """The request took longer than it may."""


@contextmanager
def session(connections: Connections, *, seconds: float) -> Iterator[requests.Session]:
    """Give a session whose ``connections``, its own, are broken off after ``seconds``.

    Raises:
        BrokenOff: they were. Whatever the block has made of it is not to be believed.
    """
    timer = threading.Timer(seconds, connections.break_off)
    timer.daemon = True
    timer.start()
    try:
        with requests.Session() as opened:
            opened.mount("https://", connections)
            opened.mount("http://", connections)
            yield opened
    finally:
        timer.cancel()
        if connections.broken_off:
            raise BrokenOff
