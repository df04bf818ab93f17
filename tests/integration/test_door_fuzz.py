"""The running door against requests that follow its own description, and against ones that do not: never a 5xx."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from producers.pages import description
from sandbox.stack import Addresses
from tests.integration.test_webhook_service import WRITE_KEY, Service, answers, running, until

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_EXAMPLES = int(os.environ.get("DOOR_FUZZ_EXAMPLES", "10"))
_DESCRIBED = schemathesis.openapi.from_dict(orjson.loads(description())).include(method="POST")


@pytest.fixture(scope="module")
def door(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with one webhook, ready."""
    with running(tmp_path_factory.mktemp("fuzzed"), stack) as started:
        started.configure(started.webhook_id, started.secret)
        until(lambda: answers(started, "/readyz"), started.log)
        until(lambda: started.post(f"/hooks/{started.webhook_id}", b"").status_code == 200, started.log)
        yield started


@_DESCRIBED.parametrize()
@settings(
    max_examples=_EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_to_whatever_comes_is_one_that_is_described(case: schemathesis.Case[Any], door: Service) -> None:
    if "webhook_id" in case.path_parameters:
        case.path_parameters["webhook_id"] = door.webhook_id
    shown = {"X-Webhook-Secret": door.secret, "X-Write-Key": WRITE_KEY}
    case.call_and_validate(base_url=door.url, headers=shown, checks=_CHECKS)
    case.call_and_validate(base_url=door.url, checks=_CHECKS)
