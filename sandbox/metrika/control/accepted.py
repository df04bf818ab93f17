"""Reading what was accepted, as JSON."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika.control.requests import refused, row_filter_of, simulator_of
from sandbox.metrika.parameters import page, whole_number
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.uploading import as_json

_DEFAULT_PAGE = 1000


async def accepted(request: Request) -> Response:
    """GET accepted row deliveries, by `counter`, `target`, `id`, `upload`; `limit`, `offset`. DELETE: forget all."""
    simulator, row_filter = simulator_of(request), row_filter_of(request)
    uploads = simulator.uploads
    if request.method == "DELETE":
        await run_in_threadpool(uploads.forget)
        await run_in_threadpool(simulator.orders.forget)
        return JSONResponse({"total": 0, "rows": []})
    wanted = page(request.query_params, default_limit=_DEFAULT_PAGE)
    if isinstance(row_filter, Refusal) or isinstance(wanted, Refusal):
        return refused(row_filter, wanted)
    rows = await run_in_threadpool(uploads.deliveries, row_filter, limit=wanted.limit, offset=wanted.offset)
    total = await run_in_threadpool(uploads.delivered, row_filter)
    return JSONResponse({"total": total, "rows": rows})


async def conversions(request: Request) -> Response:
    """GET conversions with their last Price and Currency; `at_least=2` shows those delivered more than once."""
    uploads, row_filter = simulator_of(request).uploads, row_filter_of(request)
    wanted = page(request.query_params, default_limit=_DEFAULT_PAGE)
    at_least = whole_number(request.query_params, "at_least")
    if isinstance(row_filter, Refusal) or isinstance(wanted, Refusal) or isinstance(at_least, Refusal):
        return refused(row_filter, wanted, at_least)
    found = await run_in_threadpool(
        uploads.conversions, row_filter, at_least=at_least or 1, limit=wanted.limit, offset=wanted.offset
    )
    return JSONResponse({"conversions": found})


async def uploads(request: Request) -> Response:
    """GET the newest uploads of all counters as Metrika reports them, with their counter; `limit`."""
    wanted = page(request.query_params, default_limit=_DEFAULT_PAGE)
    if isinstance(wanted, Refusal):
        return refused(wanted)
    simulator = simulator_of(request)
    found = await run_in_threadpool(simulator.uploads.latest, wanted.limit)
    now = simulator.now()
    return JSONResponse([{"counter": one.counter, **as_json(one, now, simulator.configuration)} for one in found])


async def counters(request: Request) -> Response:
    """GET uploads and rows by counter, overwritten and doubled ones apart."""
    return JSONResponse(await run_in_threadpool(simulator_of(request).uploads.by_counter))


async def orders(request: Request) -> Response:
    """GET the CDP orders as Metrika would hold them; `counter`, `limit`, `offset`."""
    wanted, counter = (
        page(request.query_params, default_limit=_DEFAULT_PAGE),
        whole_number(request.query_params, "counter"),
    )
    if isinstance(wanted, Refusal) or isinstance(counter, Refusal):
        return refused(wanted, counter)
    held = simulator_of(request).orders
    found = await run_in_threadpool(held.orders, counter, limit=wanted.limit, offset=wanted.offset)
    return JSONResponse({"orders": found})


async def summary(request: Request) -> Response:
    """GET the totals, and this process's answers by operation."""
    return JSONResponse(await run_in_threadpool(simulator_of(request).summary))


async def journal(request: Request) -> Response:
    """GET the last thousand API requests: when, what, the answer, counter, login, seconds."""
    return JSONResponse(list(simulator_of(request).requests))
