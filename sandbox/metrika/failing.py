"""How each scripted fault looks on the wire: with or without the work done, answered, cut or kept waiting."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika.connections import wait_unless_client_leaves
from sandbox.metrika.faults import Fault, Operation, Rule
from sandbox.metrika.oauth.tokens import TokenRefusal
from sandbox.metrika.refusals import ACCESS_DENIED, INVALID_TOKEN, INVALID_TOKEN_401, Refusal, refusal
from sandbox.metrika.simulator import Simulator

Answer = dict[str, Any] | Refusal | TokenRefusal
Work = Callable[[Simulator, Request], Awaitable[Answer]]

_REFUSED_GRANT = TokenRefusal(error="invalid_grant", description="expired_token")
_HTML = "<html><body><h1>{title}</h1><hr>nginx</body></html>"
_TOO_MANY = "quota_requests_by_ip"

REFUSALS: dict[Fault, Refusal] = {
    Fault.INTERNAL_ERROR: refusal("internal_error", "Internal server error"),
    Fault.INTERNAL_ERROR_AFTER_ACCEPT: refusal("internal_error", "Internal server error"),
    Fault.UNAVAILABLE: refusal("backend_error", "Backend error"),
    Fault.UNAVAILABLE_AFTER_ACCEPT: refusal("backend_error", "Backend error"),
    Fault.TIMEOUT: refusal("timeout", "Timeout"),
    Fault.TIMEOUT_AFTER_ACCEPT: refusal("timeout", "Timeout"),
    Fault.TOO_MANY_REQUESTS: refusal(_TOO_MANY, "Too many requests"),
    Fault.ENHANCE_YOUR_CALM: refusal(_TOO_MANY, "Too many requests", status=420),
    Fault.REJECT: refusal("invalid_uploading", "Invalid uploading: refused by a scripted fault"),
    Fault.UNAUTHORIZED: INVALID_TOKEN_401,
    Fault.INVALID_TOKEN: INVALID_TOKEN,
    Fault.FORBIDDEN: ACCESS_DENIED,
}
"""The answer of every fault that is just an error answer."""

AFTER_ACCEPT = frozenset(
    {
        Fault.INTERNAL_ERROR_AFTER_ACCEPT,
        Fault.UNAVAILABLE_AFTER_ACCEPT,
        Fault.TIMEOUT_AFTER_ACCEPT,
        Fault.HANG_AFTER_ACCEPT,
        Fault.CUT_AFTER_ACCEPT,
        Fault.CUT_MID_ANSWER,
        Fault.MALFORMED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a request ends: the name under which it is counted, and a response, of which half may be missing.

    Without a response the connection is closed in silence.
    """

    label: str
    response: Response | None
    broken_off: bool = False


def rendered(answer: Answer) -> Ending:
    """The HTTP response of an answer."""
    match answer:
        case Refusal():
            label = f"{answer.status} {answer.error_type}"
            return Ending(label=label, response=JSONResponse(answer.as_json(), answer.status))
        case TokenRefusal():
            return Ending(label=f"400 {answer.error}", response=JSONResponse(answer.as_json(), 400))
        case _:
            return Ending(label="200", response=JSONResponse(answer))


async def fail(rule: Rule, operation: Operation, work: Work, simulator: Simulator, request: Request) -> Ending:
    """Make a request fail. Raises `ClientDisconnect` when the client leaves meanwhile."""
    if rule.fault in AFTER_ACCEPT:
        worked = rendered(await work(simulator, request))
        if worked.label != "200":  # what can't be accepted is refused as always
            return worked
        return await _after_accept(rule, worked, simulator, request)
    if rule.fault is Fault.CUT_BEFORE:
        return Ending(label=rule.fault, response=None)
    if rule.fault is Fault.HANG:
        await request.form()
        await _hold(rule, simulator, request)
        return rendered(await work(simulator, request))
    if rule.fault in (Fault.NOT_JSON, Fault.BAD_GATEWAY):
        status = 502 if rule.fault is Fault.BAD_GATEWAY else 200
        page = _HTML.format(title="502 Bad Gateway" if status == 502 else "Welcome")
        return Ending(label=rule.fault, response=Response(page, status, media_type="text/html"))
    return _refused(rule, operation)


async def _after_accept(rule: Rule, worked: Ending, simulator: Simulator, request: Request) -> Ending:
    assert worked.response is not None  # noqa: S101 -- rendered() always makes one; for the type checker
    match rule.fault:
        case Fault.HANG_AFTER_ACCEPT:
            await _hold(rule, simulator, request)
            return worked
        case Fault.CUT_AFTER_ACCEPT:
            return Ending(label=rule.fault, response=None)
        case Fault.CUT_MID_ANSWER:
            return replace(worked, label=rule.fault, broken_off=True)
        case Fault.MALFORMED:
            body = bytes(worked.response.body)
            broken = Response(body[: len(body) // 2], media_type="application/json")
            return Ending(label=rule.fault, response=broken)
        case _:
            return replace(rendered(REFUSALS[rule.fault]), label=rule.fault)


async def _hold(rule: Rule, simulator: Simulator, request: Request) -> None:
    with simulator.holding(rule.fault, request) as released:
        await wait_unless_client_leaves(request, rule.seconds, released)


def _refused(rule: Rule, operation: Operation) -> Ending:
    answer = REFUSALS[rule.fault]
    if operation is Operation.TOKEN and answer.status in (400, 401, 403):
        return rendered(_REFUSED_GRANT)
    if rule.error_type and answer.status in (400, 420, 429):
        answer = replace(answer, error_type=rule.error_type)
    ending = rendered(answer)
    if rule.retry_after is not None and ending.response is not None:
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=rule.retry_after), usegmt=True)
        ending.response.headers["Retry-After"] = until if rule.retry_after_as == "date" else str(rule.retry_after)
    return ending
