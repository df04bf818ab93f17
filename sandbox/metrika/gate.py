"""The way of every API request: quotas and token, the scripted fault if there is one, the work, the answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.metrika.connections import hang_up, wait_unless_client_leaves
from sandbox.metrika.faults import REFUSALS, Fault, Operation, Rule
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.simulator import Simulator
from sandbox.metrika.tokens import TokenRefusal, presented_token

Answer = dict[str, Any] | Refusal | TokenRefusal
Work = Callable[[Simulator, Request], Awaitable[Answer]]

_REFUSED_GRANT = TokenRefusal(error="invalid_grant", description="expired_token")


class Gate:
    """One operation as an ASGI application. A class, because Starlette gives only those the connection itself."""

    def __init__(self, operation: Operation, work: Work) -> None:
        self._operation = operation
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        simulator: Simulator = request.app.state.simulator
        label, response = await self._answer(simulator, request)
        # Counted, and the parallel place given back, before the client can know the answer and ask again.
        simulator.answers[self._operation, label] += 1
        if response is None:
            await hang_up(request)
        else:
            await response(scope, receive, send)

    async def _answer(self, simulator: Simulator, request: Request) -> tuple[str, Response | None]:
        if self._operation is Operation.TOKEN:  # the OAuth host has neither Metrika's quotas nor its tokens
            return await self._fail_or_work(simulator, request)
        token = presented_token(request.headers.get("authorization"))
        address = request.client.host if request.client else ""
        if refused := simulator.admit(address, token):
            return rendered(refused)
        try:
            return await self._fail_or_work(simulator, request)
        finally:
            simulator.quotas.leave(token or "")

    async def _fail_or_work(self, simulator: Simulator, request: Request) -> tuple[str, Response | None]:
        rule = simulator.fault(self._operation, request.path_params.get("counter"))
        try:
            if rule is None:
                return rendered(await self._work(simulator, request))
            return await self._fail(rule, simulator, request)
        except ClientDisconnect:
            return "client_left", None
        finally:
            await request.close()

    async def _fail(self, rule: Rule, simulator: Simulator, request: Request) -> tuple[str, Response | None]:
        match rule.fault:
            case Fault.CUT_BEFORE:
                return rule.fault, None
            case Fault.CUT_AFTER_ACCEPT:
                await self._work(simulator, request)
                return rule.fault, None
            case Fault.HANG:
                await request.form()
                await wait_unless_client_leaves(request, rule.seconds)
                return rendered(await self._work(simulator, request))
            case Fault.HANG_AFTER_ACCEPT:
                answer = await self._work(simulator, request)
                await wait_unless_client_leaves(request, rule.seconds)
                return rendered(answer)
            case Fault.TIMEOUT_AFTER_ACCEPT:
                await self._work(simulator, request)
                return rendered(REFUSALS[rule.fault])
            case Fault.MALFORMED:
                _, response = rendered(await self._work(simulator, request))
                body = bytes(response.body)
                return rule.fault, Response(body[: len(body) // 2], media_type="application/json")
            case _:
                return rendered(self._refusal(rule.fault))

    def _refusal(self, fault: Fault) -> Answer:
        answer = REFUSALS[fault]
        if self._operation is Operation.TOKEN and answer.status in (400, 403):
            return _REFUSED_GRANT
        return answer


def rendered(answer: Answer) -> tuple[str, Response]:
    """The HTTP response, and the name under which the summary counts it."""
    match answer:
        case Refusal():
            return f"{answer.status} {answer.error_type}", JSONResponse(answer.as_json(), answer.status)
        case TokenRefusal():
            return f"400 {answer.error}", JSONResponse(answer.as_json(), 400)
        case _:
            return "200", JSONResponse(answer)
