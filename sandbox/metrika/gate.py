"""The way of every API request: quotas and token, the scripted fault if there is one, the work, the answer."""

import time

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from sandbox.metrika.connections import break_off, hang_up
from sandbox.metrika.failing import Answer, Ending, Work, fail, rendered
from sandbox.metrika.faults import Operation
from sandbox.metrika.oauth.tokens import presented_token
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.simulator import Simulator

__all__ = ["Answer", "Gate"]


class Gate:
    """One operation as an ASGI application. A class, because Starlette gives only those the connection itself."""

    def __init__(self, operation: Operation, work: Work) -> None:
        self._operation = operation
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        simulator: Simulator = request.app.state.simulator
        started = time.monotonic()
        login, ending = await self._answer(simulator, request)
        # Counted, and the parallel place given back, before the client can know the answer and ask again.
        simulator.answered(
            self._operation,
            ending.label,
            counter=request.path_params.get("counter"),
            login=login,
            seconds=time.monotonic() - started,
        )
        if ending.response is None:
            await hang_up(request)
        elif ending.broken_off:
            await break_off(request, ending.response, send)
        else:
            await ending.response(scope, receive, send)

    async def _answer(self, simulator: Simulator, request: Request) -> tuple[str, Ending]:
        if self._operation is Operation.TOKEN:  # the OAuth host has neither Metrika's quotas nor its tokens
            return "", await self._fail_or_work(simulator, request)
        token = presented_token(request.headers.get("authorization"))
        address = request.client.host if request.client else ""
        admitted = simulator.admit(address, token, request.path_params.get("counter"))
        if isinstance(admitted, Refusal):
            return "", rendered(admitted)
        try:
            return admitted, await self._fail_or_work(simulator, request)
        finally:
            simulator.quotas.leave(admitted)

    async def _fail_or_work(self, simulator: Simulator, request: Request) -> Ending:
        rule = simulator.fault(self._operation, request.path_params.get("counter"))
        try:
            if rule is None:
                return rendered(await self._work(simulator, request))
            return await fail(rule, self._operation, self._work, simulator, request)
        except ClientDisconnect:
            return Ending(label="client_left", response=None)
        finally:
            await request.close()
