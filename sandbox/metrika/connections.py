"""A connection that the application can drop without an answer: ASGI itself has no word for that."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HANG_UP = "sandbox.hang_up"


class DroppableConnection(HttpToolsProtocol):
    """Uvicorn's own protocol, with its way to end the TCP connection handed to the application."""

    def on_message_begin(self) -> None:
        """Called by the HTTP parser when a request begins: the scope has just been made."""
        super().on_message_begin()
        self.scope["extensions"] = {_HANG_UP: {"abort": self.transport.abort}}


async def hang_up(request: Request) -> None:
    """Drop the connection at once: what was not yet sent is lost, the client sees it end without an answer."""
    abort(request.scope)
    # Uvicorn would answer 500 for an application that returns in silence, unless it knows that the connection is gone.
    while (await request.receive())["type"] != "http.disconnect":
        pass


def abort(scope: Scope) -> None:
    """End the TCP connection of a request; needs a server that runs `DroppableConnection`."""
    scope["extensions"][_HANG_UP]["abort"]()


async def wait_unless_client_leaves(request: Request, seconds: float) -> None:
    """Wait; raises `ClientDisconnect` when the client closes the connection meanwhile. The body must have been read."""
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
    raise ClientDisconnect
