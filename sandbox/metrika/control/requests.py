"""What control requests say, checked; and how a wrong one is refused."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika.parameters import whole_number
from sandbox.metrika.refusals import Refusal, refusal
from sandbox.metrika.simulator import Simulator
from sandbox.metrika.uploads import RowFilter


def simulator_of(request: Request) -> Simulator:
    """The simulator that a request is about."""
    simulator: Simulator = request.app.state.simulator
    return simulator


async def object_of(request: Request) -> dict[str, Any] | Refusal:
    """The JSON object of a body; without a body, an empty one."""
    try:
        content = json.loads(await request.body() or b"{}")
    except ValueError:
        content = None
    return content if isinstance(content, dict) else wrong("the body", "a JSON object")


def row_filter_of(request: Request) -> RowFilter | Refusal:
    """Which rows are asked for: `counter`, `target`, `id`, `upload`."""
    query = request.query_params
    counter, uploading = whole_number(query, "counter"), whole_number(query, "upload")
    if isinstance(counter, Refusal):
        return counter
    if isinstance(uploading, Refusal):
        return uploading
    return RowFilter(counter=counter, target=query.get("target"), identifier=query.get("id"), uploading=uploading)


def number_in(content: dict[str, Any], name: str, default: float) -> float | Refusal:
    """A number of a body."""
    value = content.get(name, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else wrong(name, "a number")


def wrong(name: str, expected: str) -> Refusal:
    """The refusal of a request that says something wrong."""
    return refusal("invalid_parameter", f"Invalid {name}: must be {expected}")


def refused(*outcomes: object) -> Response:
    """The answer for the first outcome that is a refusal."""
    found = next(outcome for outcome in outcomes if isinstance(outcome, Refusal))
    return JSONResponse(found.as_json(), found.status)
