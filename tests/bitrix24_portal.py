"""A strict stand-in for a Bitrix24 portal: `batch` of `crm.deal.get`, its leaky bucket, and faults on demand.

Sources: Bitrix24 REST documentation, "batch", "crm.deal.get", "Limits".
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

SECRET: Final = "s3cr3t"
_COMMAND: Final = re.compile(r"crm\.deal\.get\?id=([0-9]+)")
_BURST: Final = 50.0
_PER_SECOND: Final = 2.0

Answer = tuple[int, Any]


class Bitrix24:
    """Deals by number, what was asked, and the answers that come before any other."""

    def __init__(self) -> None:
        self.deals: dict[str, dict[str, Any]] = {}
        self.asked: list[list[str]] = []
        self.faults: deque[Answer] = deque()
        self.too_fast = 0
        self.on_request: Callable[[], None] = lambda: None
        self.address = ""
        self._level = 0.0
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def answer(self, path: str, body: bytes) -> Answer:
        """Answer one request as the documentation says."""
        self.on_request()
        with self._lock:
            if self._over_limit():
                self.too_fast += 1
                return 503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"}
            if self.faults:
                return self.faults.popleft()
            if not path.startswith(f"/rest/1/{SECRET}/"):
                return 401, {"error": "INVALID_CREDENTIALS", "error_description": "Invalid request credentials"}
            if path != f"/rest/1/{SECRET}/batch.json":
                return 404, {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"}
            return 200, self._batch(json.loads(body))

    def _over_limit(self) -> bool:
        now = time.monotonic()
        self._level = max(0.0, self._level - (now - self._at) * _PER_SECOND) + 1
        self._at = now
        return self._level > _BURST

    def _batch(self, content: dict[str, Any]) -> dict[str, Any]:
        assert set(content) == {"halt", "cmd"}
        assert 0 < len(content["cmd"]) <= 50, "a batch holds at most 50 calls"
        results: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        numbers = []
        for name, command in content["cmd"].items():
            called = _COMMAND.fullmatch(command)
            assert called is not None, command
            numbers.append(called[1])
            deal = self.deals.get(called[1])
            if deal is None:
                errors[name] = {"error": "", "error_description": "Not found"}
            else:
                results[name] = deal
        self.asked.append(numbers)
        # PHP: an empty map is an empty list.
        return {"result": {"result": results or [], "result_error": errors or [], "result_total": []}, "time": {}}


@contextmanager
def bitrix24() -> Iterator[Bitrix24]:
    """Serve a portal on a free port."""
    portal = Bitrix24()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = portal.answer(self.path, body)
            answer = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the server's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    portal.address = f"http://127.0.0.1:{server.server_port}/rest/1/{SECRET}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield portal
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
