"""The simulator as a server: `build_app` puts the routes together, `serve` runs them until a signal."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika import api
from sandbox.metrika.configuration import Configuration
from sandbox.metrika.connections import DroppableConnection
from sandbox.metrika.control import routes as control
from sandbox.metrika.oauth import routes as oauth
from sandbox.metrika.orders import routes as orders
from sandbox.metrika.refusals import refusal
from sandbox.metrika.simulator import Simulator

# Long enough to finish an answer, short enough that a test's hanging request does not hold the process.
_SHUTDOWN_SECONDS = 1
_BACKLOG = 2048


def build_app(simulator: Simulator) -> Starlette:
    """The ASGI application. It must run on `DroppableConnection`, or scripted cuts can't be made."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        simulator.close()

    app = Starlette(
        routes=[*api.ROUTES, *orders.ROUTES, *oauth.ROUTES, *control.ROUTES],
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},
        lifespan=lifespan,
    )
    app.state.simulator = simulator
    return app


def serve(
    *,
    database: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    configuration: Configuration | None = None,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; `on_ready` gets the address once requests are answered.

    Accepted rows are kept in the SQLite file `database`, tokens, quotas, goals and settings in one beside it. Raises
    OSError when the port is taken, sqlite3.Error when a file can't be used, InvalidConfiguration when it holds a
    setting that is wrong.
    """
    with socket.create_server((host, port), backlog=_BACKLOG) as listener:
        bound_host, bound_port = listener.getsockname()[:2]
        simulator = Simulator(database, configuration or Configuration())
        server = _Server(
            uvicorn.Config(
                build_app(simulator),
                http=DroppableConnection,
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            ),
            address=(bound_host, bound_port),
            announce=lambda: on_ready(f"http://{bound_host}:{bound_port}"),
        )
        simulator.stop_listening = server.stop_listening
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it is ready (uvicorn itself only logs it), and can be away for a while."""

    def __init__(self, config: uvicorn.Config, address: tuple[str, int], announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._address = address
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def stop_listening(self, seconds: float) -> None:
        """Cut every connection and refuse new ones for so long."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(seconds)
        listener = socket.create_server(self._address, backlog=_BACKLOG)
        self.servers = [await asyncio.get_running_loop().create_server(self._protocol, sock=listener)]

    def _protocol(self) -> asyncio.Protocol:
        # What uvicorn's own startup makes for each connection.
        return DroppableConnection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- what the handler is registered for; Starlette's type is wider
    error_types = {404: "not_found", 405: "method_not_allowed"}
    refused = refusal(error_types.get(error.status_code, "invalid_parameter"), error.detail)
    return JSONResponse(refused.as_json(), refused.status)


async def _unexpected(request: Request, error: Exception) -> Response:
    refused = refusal("internal_error", "The simulator failed; its own log says why")
    return JSONResponse(refused.as_json(), refused.status)
