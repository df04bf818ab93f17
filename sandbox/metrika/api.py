"""The API itself: Metrika's management routes for offline conversions and goals."""

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from sandbox.metrika.csv_file import read_rows
from sandbox.metrika.faults import Operation
from sandbox.metrika.gate import Answer, Gate
from sandbox.metrika.parameters import page, upload_parameters
from sandbox.metrika.refusals import NO_SUCH_OBJECT, Refusal, refusal
from sandbox.metrika.simulator import Simulator
from sandbox.metrika.site import audience
from sandbox.metrika.uploading import Uploading, as_json


async def upload(simulator: Simulator, request: Request) -> Answer:
    """Accept a CSV file; the answer is sent only after its rows are committed."""
    configuration, now = simulator.configuration, simulator.now()
    parameters = upload_parameters(request.path_params["counter"], request.query_params, configuration)
    if isinstance(parameters, Refusal):
        return parameters
    try:
        file = (await request.form()).get("file")
    except HTTPException as error:
        return refusal("invalid_uploading", f"Invalid uploading: {error.detail}")
    if not isinstance(file, UploadFile):
        return refusal("missing_parameter", "Missing parameter: the multipart form has no file named 'file'")
    if (file.size or 0) > configuration.max_file_bytes:
        return refusal("limit_exceeded", f"The file is larger than {configuration.max_file_bytes} bytes")
    rows = read_rows(file.file, now=now, configuration=configuration)
    there = audience(simulator.site, parameters.counter, configuration, now=now)
    outcome = await run_in_threadpool(simulator.uploads.accept, parameters, rows, now=now, audience=there)
    if isinstance(outcome, Uploading):
        return {"uploading": as_json(outcome, now, configuration)}
    return refusal("invalid_uploading", f"Invalid uploading: line {outcome.line}: {outcome.reason}")


async def uploadings(simulator: Simulator, request: Request) -> Answer:
    """The uploads of a counter."""
    wanted = page(request.query_params)
    if isinstance(wanted, Refusal):
        return wanted
    now, configuration = simulator.now(), simulator.configuration
    found = await run_in_threadpool(
        simulator.uploads.uploadings,
        request.path_params["counter"],
        type_=wanted.type,
        accepted_by=now - configuration.listed_after_seconds,
        limit=wanted.limit,
        offset=wanted.offset,
    )
    entries = [as_json(uploading, now, configuration) for uploading in found]
    if not configuration.list_shows_comments:
        entries = [{name: value for name, value in entry.items() if name != "comment"} for entry in entries]
    return {"uploadings": entries}


async def uploading(simulator: Simulator, request: Request) -> Answer:
    """One upload of a counter; an unknown one is a 400, as observed, not a 404."""
    counter, uploading_id = request.path_params["counter"], request.path_params["uploading"]
    found = await run_in_threadpool(simulator.uploads.uploading, counter, uploading_id)
    return {"uploading": as_json(found, simulator.now(), simulator.configuration)} if found else NO_SUCH_OBJECT


async def goals(simulator: Simulator, request: Request) -> Answer:
    """The goals of a counter: "JavaScript event" goals whose identifier is what `Target` must say."""
    found = simulator.site.goals(request.path_params["counter"], simulator.configuration)
    return {
        "goals": [
            {"id": number, "name": goal, "type": "action", "conditions": [{"type": "exact", "url": goal}]}
            for number, goal in enumerate(found, start=1)
        ]
    }


_COUNTER = "/management/v1/counter/{counter:int}"
_CONVERSIONS = f"{_COUNTER}/offline_conversions"

ROUTES = [
    Route(f"{_CONVERSIONS}/upload", Gate(Operation.UPLOAD, upload), methods=["POST"]),
    Route(f"{_CONVERSIONS}/uploadings", Gate(Operation.LIST, uploadings), methods=["GET"]),
    Route(f"{_CONVERSIONS}/uploading/{{uploading:int}}", Gate(Operation.DETAIL, uploading), methods=["GET"]),
    Route(f"{_COUNTER}/goals", Gate(Operation.GOALS, goals), methods=["GET"]),
]
