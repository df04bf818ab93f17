"""A TCP proxy in front of one server that stalls, and that loses the answer to what a client has sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

_CHUNK: Final = 65536


class Proxy:
    """Passes bytes on in both directions between any number of clients and the server at ``target``."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._unlucky = b""
        self._lost = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._flowing.set()
        self._listener.close()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nothing gets through, and every connection looks well: as with a frozen server."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def lose_answer_to(self, said: bytes) -> threading.Event:
        """Reset the next connection whose client sends ``said``, once the server has answered that.

        Returns an event that is set when it has happened.
        """
        self._lost = threading.Event()
        self._unlucky = said
        return self._lost

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                pair = _Pair(self, client, server)
                threading.Thread(target=pair.ask, daemon=True).start()
                threading.Thread(target=pair.answer, daemon=True).start()

    def wait_until_flowing(self) -> None:
        """Return when bytes may pass."""
        self._flowing.wait()

    def is_unlucky(self, said: bytes) -> bool:
        """Tell, once, whether the answer to ``said`` is to be lost."""
        if not self._unlucky or self._unlucky not in said:
            return False
        self._unlucky = b""
        return True

    def has_lost(self) -> None:
        """Say that it is lost."""
        self._lost.set()


class _Pair:
    """One client's connection and its connection to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._doomed = False

    def ask(self) -> None:
        with contextlib.suppress(OSError):
            while said := self._client.recv(_CHUNK):
                self._proxy.wait_until_flowing()
                self._doomed = self._doomed or self._proxy.is_unlucky(said)
                self._server.sendall(said)
        self._end()

    def answer(self) -> None:
        with contextlib.suppress(OSError):
            while answered := self._server.recv(_CHUNK):
                self._proxy.wait_until_flowing()
                if self._doomed:
                    self._proxy.has_lost()
                    break
                self._client.sendall(answered)
        self._end()

    def _end(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
