"""What real Metrika has not: scripting failures, changing the configuration, and reading what was accepted."""

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox.metrika.configuration import InvalidConfiguration, as_json, changed
from sandbox.metrika.faults import RULES, InvalidRules, parse_rules
from sandbox.metrika.page import page_html
from sandbox.metrika.parameters import Page, page, whole_number
from sandbox.metrika.refusals import Refusal, refusal
from sandbox.metrika.simulator import Simulator
from sandbox.metrika.uploads import RowFilter

_DEFAULT_PAGE = 1000
_SHOWN_ON_THE_PAGE = 50


async def faults(request: Request) -> Response:
    """GET the rules still to come, POST more of them (a JSON list), DELETE all."""
    simulator = _simulator(request)
    if request.method == "POST":
        try:
            simulator.rules += parse_rules(await request.body())
        except InvalidRules as error:
            return _refused(refusal("invalid_parameter", f"Invalid faults: {error}"))
    elif request.method == "DELETE":
        simulator.rules = ()
    return JSONResponse(RULES.dump_python(simulator.rules, mode="json"))


async def config(request: Request) -> Response:
    """GET the configuration, PATCH (or POST) some settings, DELETE to return to those of the start."""
    simulator = _simulator(request)
    if request.method in ("PATCH", "POST"):
        try:
            simulator.configuration = changed(simulator.configuration, json.loads(await request.body()))
        except (InvalidConfiguration, ValueError) as error:
            return _refused(refusal("invalid_parameter", f"Invalid configuration: {error}"))
    elif request.method == "DELETE":
        simulator.configuration = simulator.start_configuration
    return JSONResponse(as_json(simulator.configuration))


async def tokens(request: Request) -> Response:
    """POST: a pair of tokens, as a person's consent would give; the way into `strict_tokens`."""
    simulator = _simulator(request)
    return JSONResponse(simulator.tokens.issue(simulator.now(), simulator.configuration).as_json())


async def accepted(request: Request) -> Response:
    """GET every accepted row delivery, filtered by `counter`, `target`, `id`, `upload`; `limit` and `offset`."""
    uploads, row_filter = _simulator(request).uploads, _row_filter(request)
    wanted = page(request.query_params, default_limit=_DEFAULT_PAGE)
    if isinstance(row_filter, Refusal) or isinstance(wanted, Refusal):
        return _first_refused(row_filter, wanted)
    rows = await run_in_threadpool(uploads.deliveries, row_filter, limit=wanted.limit, offset=wanted.offset)
    total = await run_in_threadpool(uploads.delivered, row_filter)
    return JSONResponse({"total": total, "rows": rows})


async def conversions(request: Request) -> Response:
    """GET conversions with their last Price and Currency; `at_least=2` shows those delivered more than once."""
    uploads, row_filter = _simulator(request).uploads, _row_filter(request)
    wanted = page(request.query_params, default_limit=_DEFAULT_PAGE)
    at_least = whole_number(request.query_params, "at_least")
    if isinstance(row_filter, Refusal) or isinstance(wanted, Refusal) or isinstance(at_least, Refusal):
        return _first_refused(row_filter, wanted, at_least)
    found = await run_in_threadpool(
        uploads.conversions, row_filter, at_least=at_least or 1, limit=wanted.limit, offset=wanted.offset
    )
    return JSONResponse({"conversions": found})


async def summary(request: Request) -> Response:
    """GET the totals."""
    return JSONResponse(await run_in_threadpool(_simulator(request).summary))


async def overview(request: Request) -> Response:
    """GET the page for people."""
    simulator = _simulator(request)
    totals = await run_in_threadpool(simulator.summary)
    rows = await run_in_threadpool(
        simulator.uploads.deliveries, RowFilter(), limit=_SHOWN_ON_THE_PAGE, offset=0, newest_first=True
    )
    return HTMLResponse(page_html(totals, rows))


async def healthz(request: Request) -> Response:
    """GET: the process serves."""
    return JSONResponse({"status": "ok"})


def _simulator(request: Request) -> Simulator:
    simulator: Simulator = request.app.state.simulator
    return simulator


def _row_filter(request: Request) -> RowFilter | Refusal:
    query = request.query_params
    counter, uploading = whole_number(query, "counter"), whole_number(query, "upload")
    if isinstance(counter, Refusal):
        return counter
    if isinstance(uploading, Refusal):
        return uploading
    return RowFilter(counter=counter, target=query.get("target"), identifier=query.get("id"), uploading=uploading)


def _first_refused(*outcomes: RowFilter | Page | Refusal | int | None) -> Response:
    return _refused(next(outcome for outcome in outcomes if isinstance(outcome, Refusal)))


def _refused(refused: Refusal) -> Response:
    return JSONResponse(refused.as_json(), refused.status)


ROUTES = [
    Route("/", overview, methods=["GET"]),
    Route("/healthz", healthz, methods=["GET"]),
    Route("/_control/faults", faults, methods=["GET", "POST", "DELETE"]),
    Route("/_control/config", config, methods=["GET", "PATCH", "POST", "DELETE"]),
    Route("/_control/tokens", tokens, methods=["POST"]),
    Route("/_control/accepted", accepted, methods=["GET"]),
    Route("/_control/conversions", conversions, methods=["GET"]),
    Route("/_control/summary", summary, methods=["GET"]),
]
