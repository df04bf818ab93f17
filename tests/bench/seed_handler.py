"""What goalpost replaces: the seed's edge function as a Python service: ``python -m tests.bench.seed_handler``.

Line by line what the function does, with an asynchronous server and a pool of connections: select the session, append
the goal to its JSON, write the JSON back, answer. Nothing is checked and nothing is idempotent, as in the original.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import uvicorn
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_CONNECTIONS: Final = 16

_BY_SESSION: Final = "SELECT * FROM user_analytics WHERE session_id = %s"
_LAST_OF_VISITOR: Final = """
SELECT * FROM user_analytics WHERE analytics_data @> %s ORDER BY "timestamp" DESC LIMIT 1
"""
_UPDATE: Final = "UPDATE user_analytics SET analytics_data = %s WHERE id = %s"

Pool = AsyncConnectionPool[Any]


async def handle(request: Request) -> Response:
    """Append one goal to one session."""
    given = await request.json()
    session_id, ym_uid = given.get("session_id"), given.get("ym_uid")
    if not session_id and not ym_uid:
        return PlainTextResponse("Missing session_id or ym_uid", 400)
    pool: Pool = request.app.state.pool
    async with pool.connection() as connection:
        found = (
            await connection.execute(_BY_SESSION, (session_id,))
            if session_id
            else await connection.execute(_LAST_OF_VISITOR, (Jsonb({"ids": {"ym_uid": ym_uid}}),))
        )
        row = await found.fetchone()
        if row is None:
            return PlainTextResponse("Session not found", 404)
        await connection.execute(_UPDATE, (Jsonb(_with_goal(row["analytics_data"], given)), row["id"]))
    return JSONResponse({"success": True, "updated_session": str(row["id"])})


def _with_goal(data: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    goal = {
        "goal": given.get("goal_name") or "crm_conversion",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "value": given.get("goal_value") or 0,
        "source": "crm_offline",
    }
    actions = data.setdefault("target_actions", {})
    actions.setdefault("yandex_goals_triggered", []).append(goal)
    actions["conversion_flag"] = True
    return data


@asynccontextmanager
async def _connected(application: Starlette) -> AsyncIterator[None]:
    # Autocommit, as PostgREST behind the function: each of its two statements is a transaction of its own.
    options = {"autocommit": True, "row_factory": dict_row}
    database_url = os.environ["DATABASE_URL"]
    async with AsyncConnectionPool(database_url, min_size=_CONNECTIONS, kwargs=options, open=False) as pool:
        await pool.wait()
        application.state.pool = pool
        yield


async def _ready(_request: Request) -> Response:
    return PlainTextResponse("ready")


if __name__ == "__main__":
    routes = [
        Route("/functions/v1/crm-conversion-hook", handle, methods=["POST"]),
        Route("/readyz", _ready),
    ]
    uvicorn.run(
        Starlette(routes=routes, lifespan=_connected),
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
    )
