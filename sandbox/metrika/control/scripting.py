"""Making requests fail, holding them, letting them go; and moving the clock."""

from datetime import UTC, datetime

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika.control.requests import number_in, object_of, refused, simulator_of, wrong
from sandbox.metrika.faults import RULES, InvalidRules, parse_rules
from sandbox.metrika.refusals import Refusal

_LONGEST_OUTAGE_SECONDS = 3600
_SECONDS_PER_DAY = 86_400


async def faults(request: Request) -> Response:
    """GET the rules still to come, POST more of them (a JSON list), DELETE all."""
    simulator = simulator_of(request)
    if request.method == "POST":
        try:
            simulator.rules += parse_rules(await request.body())
        except InvalidRules as error:
            return refused(wrong("faults", f"a list of rules ({error})"))
    elif request.method == "DELETE":
        simulator.rules = ()
    return JSONResponse(RULES.dump_python(simulator.rules, mode="json"))


async def held(request: Request) -> Response:
    """GET the requests that a hanging fault keeps waiting now."""
    found = simulator_of(request).held.values()
    return JSONResponse([{"number": one.number, "fault": one.fault.value, "path": one.path} for one in found])


async def release(request: Request) -> Response:
    """POST: let every held request go on."""
    found = list(simulator_of(request).held.values())
    for one in found:
        one.released.set()
    return JSONResponse({"released": len(found)})


async def outage(request: Request) -> Response:
    """POST {"seconds": N}: connections are cut, and new ones refused for so long; this address, too."""
    simulator, content = simulator_of(request), await object_of(request)
    seconds = content if isinstance(content, Refusal) else number_in(content, "seconds", 10)
    if isinstance(seconds, Refusal):
        return refused(seconds)
    if not 0 <= seconds <= _LONGEST_OUTAGE_SECONDS or simulator.stop_listening is None:
        return refused(wrong("seconds", f"from 0 to {_LONGEST_OUTAGE_SECONDS}"))
    return JSONResponse({"seconds": seconds}, background=BackgroundTask(simulator.stop_listening, seconds))


async def clock(request: Request) -> Response:
    """GET the simulator's time, POST {"advance_days": N, "advance_seconds": N} to move it on."""
    simulator = simulator_of(request)
    if request.method == "POST":
        content = await object_of(request)
        if isinstance(content, Refusal):
            return refused(content)
        days, seconds = number_in(content, "advance_days", 0), number_in(content, "advance_seconds", 0)
        if isinstance(days, Refusal) or isinstance(seconds, Refusal):
            return refused(days, seconds)
        ahead = simulator.configuration.clock_offset_seconds + days * _SECONDS_PER_DAY + seconds
        simulator.change({"clock_offset_seconds": ahead})
    now = simulator.now()
    return JSONResponse({"now": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"), "epoch": now})
