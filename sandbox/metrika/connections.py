"""A connection that the application can drop without an answer: ASGI itself has no word for that."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HANG_UP = "sandbox.hang_up"


class DroppableConnection(HttpToolsProtocol):
    """Uvicorn's own protocol, with its ways to end the TCP connection handed to the application."""

    def on_message_begin(self) -> None:
        """Called by the HTTP parser when a request begins: the scope has just been made."""
        super().on_message_begin()
        self.scope["extensions"] = {_HANG_UP: {"abort": self.transport.abort, "close": self.transport.close}}


async def hang_up(request: Request) -> None:
    """Drop the connection at once: what was not yet sent is lost, the client sees it end without an answer."""
    abort(request.scope)
    await _gone(request)


async def break_off(request: Request, response: Response, send: Send) -> None:
    """Send the head of a response and half of its body, then end the connection."""
    body = bytes(response.body)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    request.scope["extensions"][_HANG_UP]["close"]()  # unlike abort, after what was written
    await _gone(request)


def abort(scope: Scope) -> None:
    """End the TCP connection of a request; needs a server that runs `DroppableConnection`."""
    scope["extensions"][_HANG_UP]["abort"]()


async def wait_unless_client_leaves(request: Request, seconds: float, released: asyncio.Event) -> None:
    """Wait until released, at most so long; raises `ClientDisconnect` when the client closes the connection meanwhile.

    The body must have been read.
    """
    leaving, release = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(released.wait())
    try:
        await asyncio.wait((leaving, release), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            raise ClientDisconnect
    finally:
        leaving.cancel()
        release.cancel()


async def _gone(request: Request) -> None:
    # Uvicorn would answer 500 for an application that returns in silence, unless it knows that the connection is gone.
    while (await request.receive())["type"] != "http.disconnect":
        pass
