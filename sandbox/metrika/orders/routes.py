"""The CDP routes: a file of simple orders, and the list of the last files."""

import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from sandbox.metrika.faults import Operation
from sandbox.metrika.gate import Answer, Gate
from sandbox.metrika.orders.merging import MergeMode
from sandbox.metrika.orders.order_file import BadOrders, read_orders
from sandbox.metrika.orders.store import OrderUploading
from sandbox.metrika.refusals import refusal
from sandbox.metrika.simulator import Simulator

_DELIMITERS = {"COMMA": ",", "SEMICOLON": ";"}
_LARGEST_LIST = 1000


async def upload(simulator: Simulator, request: Request) -> Answer:
    """Accept a file of orders; one that breaks a rule is answered 200 with status FAILED, as observed."""
    query, configuration = request.query_params, simulator.configuration
    mode, delimiter = query.get("merge_mode"), query.get("delimiter_type", "COMMA")
    if mode is None:
        return refusal("missing_parameter", f"Missing parameter merge_mode: one of {', '.join(MergeMode)}")
    if mode not in tuple(MergeMode) or delimiter not in _DELIMITERS:
        allowed = f"merge_mode is one of {', '.join(MergeMode)}, delimiter_type one of {', '.join(_DELIMITERS)}"
        return refusal("invalid_parameter", f"Invalid parameter: {allowed}")
    try:
        file = (await request.form()).get("file")
    except HTTPException as error:
        return refusal("invalid_uploading", f"Invalid uploading: {error.detail}")
    if not isinstance(file, UploadFile):
        return refusal("missing_parameter", "Missing parameter: the multipart form has no file named 'file'")
    found = await run_in_threadpool(
        read_orders, file.file, delimiter=_DELIMITERS[delimiter], configuration=configuration
    )
    failed = isinstance(found, BadOrders)
    uploading = OrderUploading(
        id=str(uuid.uuid4()),
        counter=request.path_params["counter"],
        at=simulator.now(),
        passed=not failed,
        elements=0 if isinstance(found, BadOrders) else len(found),
        merge_mode=mode,
        problem=f"line {found.line}: {found.reason}" if isinstance(found, BadOrders) else None,
    )
    await run_in_threadpool(simulator.orders.accept, uploading, [] if isinstance(found, BadOrders) else found)
    return {"uploading": as_json(uploading)}


async def last_uploadings(simulator: Simulator, request: Request) -> Answer:
    """The last files of a counter, newest first."""
    query = request.query_params
    limit = query.get("limit", "100")
    if not (limit.isdecimal() and 1 <= int(limit) <= _LARGEST_LIST):
        return refusal("invalid_parameter", f"Invalid parameter limit: a whole number from 1 to {_LARGEST_LIST}")
    try:
        offset = query.get("datetime_offset")
        since = datetime.fromisoformat(offset).replace(tzinfo=UTC).timestamp() if offset else 0.0
    except ValueError:
        return refusal("invalid_parameter", "Invalid parameter datetime_offset: like 2022-12-29T18:02:01Z")
    found = await run_in_threadpool(
        simulator.orders.uploadings, request.path_params["counter"], limit=int(limit), since=since
    )
    return {"uploadings": [as_json(uploading) for uploading in found]}


def as_json(uploading: OrderUploading) -> dict[str, Any]:
    """The documented object."""
    return {
        "uploading_id": uploading.id,
        "datetime": datetime.fromtimestamp(uploading.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "api_validation_status": "PASSED" if uploading.passed else "FAILED",
        "elements_count": uploading.elements,
        "entity_type": "SYSTEM",
        "uploading_format": "CSV",
        "uploading_source": "API",
    }


_COUNTER = "/cdp/api/v1/counter/{counter:int}"

ROUTES = [
    Route(f"{_COUNTER}/data/simple_orders", Gate(Operation.ORDERS, upload), methods=["POST"]),
    Route(f"{_COUNTER}/last_uploadings", Gate(Operation.ORDERS_LIST, last_uploadings), methods=["GET"]),
]
