"""The control routes; what each does is its docstring, which the page and the documentation show."""

from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox.metrika.configuration import as_json, settings_explained
from sandbox.metrika.control import accepted, knowledge, scripting
from sandbox.metrika.control.pages import configurable_page, overview_page
from sandbox.metrika.control.requests import simulator_of
from sandbox.metrika.faults import EXPLAINED, Operation
from sandbox.metrika.uploading import as_json as uploading_as_json
from sandbox.metrika.uploads import RowFilter

_SHOWN_ON_THE_PAGE = 50
_LONG_VALUE = 60

_GET = ["GET"]


async def overview(request: Request) -> Response:
    """GET the page of what was accepted."""
    simulator = simulator_of(request)
    uploads = await run_in_threadpool(simulator.uploads.latest, _SHOWN_ON_THE_PAGE)
    rows = await run_in_threadpool(
        simulator.uploads.deliveries, RowFilter(), limit=_SHOWN_ON_THE_PAGE, offset=0, newest_first=True
    )
    now, configuration = simulator.now(), simulator.configuration
    page = overview_page(
        await run_in_threadpool(simulator.summary),
        counters=await run_in_threadpool(simulator.uploads.by_counter),
        uploads=[{"counter": one.counter, **uploading_as_json(one, now, configuration)} for one in uploads],
        rows=rows,
        requests=list(simulator.requests)[: -_SHOWN_ON_THE_PAGE - 1 : -1],
    )
    return HTMLResponse(page)


async def configurable(request: Request) -> Response:
    """GET the page of what can be configured: this list, every setting and every fault."""
    values = as_json(simulator_of(request).configuration)
    page = configurable_page(
        str(request.base_url),
        settings=[
            (one.name, _short(values[one.name]), one.default_shown(), one.purpose) for one in settings_explained()
        ],
        faults=[(fault.value, what) for fault, what in EXPLAINED.items()],
        operations=[operation.value for operation in Operation],
        routes=[(one.path, ", ".join(one.methods), one.purpose) for one in explained_routes()],
    )
    return HTMLResponse(page)


async def healthz(request: Request) -> Response:
    """GET: the process serves."""
    return JSONResponse({"status": "ok"})


def _short(value: object) -> object:
    return f"{len(value)} values" if isinstance(value, list) and len(str(value)) > _LONG_VALUE else value


class ExplainedRoute(NamedTuple):
    """One control route for people."""

    path: str
    methods: tuple[str, ...]
    purpose: str


def explained_routes() -> list[ExplainedRoute]:
    """Every route that real Metrika has not."""
    return [
        ExplainedRoute(
            path=route.path.replace(":int", ""),
            methods=tuple(sorted(set(route.methods or ()) - {"HEAD"})),
            purpose=" ".join((route.endpoint.__doc__ or "").split()),
        )
        for route in ROUTES
    ]


ROUTES = [
    Route("/", overview, methods=_GET),
    Route("/healthz", healthz, methods=_GET),
    Route("/_control", configurable, methods=_GET),
    Route("/_control/faults", scripting.faults, methods=["GET", "POST", "DELETE"]),
    Route("/_control/held", scripting.held, methods=_GET),
    Route("/_control/release", scripting.release, methods=["POST"]),
    Route("/_control/outage", scripting.outage, methods=["POST"]),
    Route("/_control/clock", scripting.clock, methods=["GET", "POST"]),
    Route("/_control/config", knowledge.config, methods=["GET", "PATCH", "POST", "DELETE"]),
    Route("/_control/tokens", knowledge.tokens, methods=["POST", "DELETE"]),
    Route("/_control/codes", knowledge.codes, methods=["POST"]),
    Route("/_control/goals/{counter:int}", knowledge.goals, methods=["GET", "PUT"]),
    Route("/_control/visits", knowledge.visits, methods=["GET", "POST", "DELETE"]),
    Route("/_control/quotas", knowledge.quotas, methods=_GET),
    Route("/_control/summary", accepted.summary, methods=_GET),
    Route("/_control/counters", accepted.counters, methods=_GET),
    Route("/_control/uploads", accepted.uploads, methods=_GET),
    Route("/_control/accepted", accepted.accepted, methods=["GET", "DELETE"]),
    Route("/_control/conversions", accepted.conversions, methods=_GET),
    Route("/_control/orders", accepted.orders, methods=_GET),
    Route("/_control/requests", accepted.journal, methods=_GET),
]
