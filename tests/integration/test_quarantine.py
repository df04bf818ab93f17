"""A secret that was wrong on our side: what came meanwhile is kept, and goes its way when the secret is mended."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from goalpost.cli import main
from sandbox.stack import Addresses
from schemas.records import header
from schemas.topics import QUARANTINE, RAW
from tests.integration.test_webhook_service import Service, answers, read_all, running, until


def test_what_came_with_the_new_secret_too_early_is_published_once_it_is_known(
    stack: Addresses, tmp_path: Path
) -> None:
    with running(tmp_path, stack) as service:
        service.configure(service.webhook_id, service.secret)
        until(lambda: answers(service, "/readyz"), service.log)
        hook = f"/hooks/{service.webhook_id}"
        until(lambda: service.post(hook, b"").status_code == 200)
        new = f"new-{uuid.uuid4()}"
        session_id = str(uuid.uuid4())
        body = json.dumps({"session_id": session_id, "event_id": "deal-7"})
        assert service.post(hook, body, **{"X-Webhook-Secret": new}).status_code == 401
        until(lambda: any(one.key == service.webhook_id.encode() for one in read_all(stack, QUARANTINE.name)))
        assert _verdicts(service, "ls") == ["still wrong"]

        service.configure(service.webhook_id, service.secret, new)
        assert _verdicts(service, "retry") == ["authentic"]
        assert _stored(stack, session_id) == []
        (event_id,) = _run(service, "retry", "--execute")["published"]
        assert _stored(stack, session_id) == [event_id]
        # The sender's own repeat, now with the secret that the service knows, is the same event.
        until(lambda: service.post(hook, body, **{"X-Webhook-Secret": new}).status_code == 202)
        assert set(_stored(stack, session_id)) == {event_id}


def _verdicts(service: Service, *arguments: str) -> list[str]:
    return [one["now"] for one in _run(service, *arguments)["requests"]]


def _run(service: Service, *arguments: str) -> dict[str, Any]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": service.addresses.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": service.addresses.schema_registry_url,
        "GOALPOST_SECRET_KEY": service.key,
    }
    command = ["quarantine", *arguments, "--webhook", service.webhook_id, "--json"]
    ended = CliRunner().invoke(main, command, env=environment, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _stored(stack: Addresses, session_id: str) -> list[str | None]:
    return [
        header(one.headers, "event_id") for one in read_all(stack, RAW.name) if one.key == f"s:{session_id}".encode()
    ]
