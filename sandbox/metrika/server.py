"""The simulator as a server: `build_app` puts the routes together, `serve` runs them until a signal."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika import api, control
from sandbox.metrika.configuration import Configuration
from sandbox.metrika.connections import DroppableConnection
from sandbox.metrika.refusals import refusal
from sandbox.metrika.simulator import Simulator
from sandbox.metrika.uploads import Uploads

# Long enough to finish an answer, short enough that a test's hanging request does not hold the process.
_SHUTDOWN_SECONDS = 1


def build_app(simulator: Simulator) -> Starlette:
    """The ASGI application. It must run on `DroppableConnection`, or scripted cuts can't be made."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        simulator.uploads.close()

    app = Starlette(
        routes=[*api.ROUTES, *control.ROUTES],
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

    Accepted rows are kept in the SQLite file `database`. Raises OSError when the port is taken, sqlite3.Error when the
    file can't be used.
    """
    configuration = configuration or Configuration()
    with socket.create_server((host, port), backlog=2048) as listener:
        bound_host, bound_port = listener.getsockname()[:2]
        simulator = Simulator(uploads=Uploads(database), start_configuration=configuration, configuration=configuration)
        server = _AnnouncedServer(
            uvicorn.Config(
                build_app(simulator),
                http=DroppableConnection,
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            ),
            announce=lambda: on_ready(f"http://{bound_host}:{bound_port}"),
        )
        server.run(sockets=[listener])


class _AnnouncedServer(uvicorn.Server):
    """Says when it is ready: uvicorn itself only logs it."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- what the handler is registered for; Starlette's type is wider
    error_types = {404: "not_found", 405: "method_not_allowed"}
    refused = refusal(error_types.get(error.status_code, "invalid_parameter"), error.detail)
    return JSONResponse(refused.as_json(), refused.status)


async def _unexpected(request: Request, error: Exception) -> Response:
    refused = refusal("internal_error", "The simulator failed; its own log says why")
    return JSONResponse(refused.as_json(), refused.status)
