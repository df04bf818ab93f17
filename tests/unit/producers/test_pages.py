"""Health, metrics and documentation; the description must describe the service as it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

import httpx
import orjson
import pytest
from openapi_spec_validator import validate
from prometheus_client import generate_latest

from producers import door
from producers.authentication import SECRET_PARAMETERS
from producers.dialects import contract, generic
from producers.dialects.outcome import Parsed, Submission
from producers.pages import description
from tests.unit.producers.parts import NOW_MS, SECRET, WRITE_KEY, Service

API: dict[str, Any] = orjson.loads(description())


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as connected:
        yield connected


async def test_each_page_is_there_and_takes_get_only(client: httpx.AsyncClient) -> None:
    for address in ("/healthz", "/openapi.json", "/docs"):
        assert (await client.get(address)).status_code == 200
        refused = await client.post(address)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    missing = await client.get("/nowhere")
    assert (missing.status_code, missing.json()["success"]) == (404, False)


@pytest.mark.parametrize("address", ["/readyz", "/metrics"])
async def test_what_a_process_says_of_itself_is_not_for_the_public(client: httpx.AsyncClient, address: str) -> None:
    assert (await client.get(address)).status_code == 404


async def test_requests_are_counted_by_template_and_status_and_never_by_content(client: httpx.AsyncClient) -> None:
    secret_path = "/hooks/11111111-2222-3333-4444-555555555555/geheimnis"
    await client.post(secret_path, json={"session_id": "s"})
    metrics = generate_latest().decode()
    assert re.search(r'^webhook_requests_total\{route="/hooks/\{webhook_id\}",status="404"\} [1-9]', metrics, re.M)
    assert "geheimnis" not in metrics
    assert "11111111" not in metrics


def test_every_address_of_the_service_is_described() -> None:
    pages = {"/healthz", "/openapi.json", "/docs"}
    hot = {door.DROP_IN, door.NAMED, f"{door.NAMED}/{{token}}", door.SESSIONS, door.SUPABASE}
    assert set(API["paths"]) == pages | hot
    assert API["openapi"] == "3.1.0"


def test_the_description_is_valid_openapi() -> None:
    validate(API)


def test_every_reference_of_the_description_leads_somewhere() -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', description()):
        part = API
        for name in reference.split("/"):
            part = part[name]


def test_every_way_to_authenticate_that_is_named_is_described() -> None:
    schemes = API["components"]["securitySchemes"]
    named = [name for method in _operations() for one in method.get("security", []) for name in one]
    assert set(named) <= set(schemes)
    in_query = {scheme["name"] for scheme in schemes.values() if scheme.get("in") == "query"}
    assert in_query <= SECRET_PARAMETERS


def _operations() -> list[dict[str, Any]]:
    return [operation for methods in API["paths"].values() for operation in methods.values()]


def test_every_field_that_is_read_is_described_and_no_other() -> None:
    assert set(API["components"]["schemas"]["Conversion"]["properties"]) == contract.FIELDS


def test_every_example_is_accepted() -> None:
    content = API["paths"][door.DROP_IN]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        submission = Submission(
            body=orjson.dumps(example["value"]),
            content_type="application/json",
            query=(),
            received_at=NOW_MS,
            fields={},
        )
        assert isinstance(generic.parse(submission), Parsed)


@pytest.mark.parametrize(
    ("address", "template", "body", "headers"),
    [
        ("/functions/v1/crm-conversion-hook", door.DROP_IN, b'{"session_id": "s"}', {"X-Webhook-Secret": SECRET}),
        ("/functions/v1/crm-conversion-hook", door.DROP_IN, b"", {"X-Webhook-Secret": SECRET}),
        ("/functions/v1/crm-conversion-hook", door.DROP_IN, b"{}", {"X-Webhook-Secret": SECRET}),
        ("/functions/v1/crm-conversion-hook", door.DROP_IN, b"x" * 70_000, {}),
        ("/hooks/unknown", door.NAMED, b"{}", {}),
        ("/sessions", door.SESSIONS, b'{"session_id": "s"}', {"X-Write-Key": WRITE_KEY}),
        ("/sessions", door.SESSIONS, b"{}", {}),
        ("/sessions/supabase", door.SUPABASE, b'{"table": "orders"}', {"X-Write-Key": WRITE_KEY}),
    ],
)
async def test_every_answer_is_one_that_is_described(
    client: httpx.AsyncClient, address: str, template: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = await client.post(address, content=body, headers=headers)
    described = API["paths"][template]["post"]["responses"][str(answer.status_code)]
    if "$ref" in described:
        described = API["components"]["responses"][described["$ref"].rpartition("/")[2]]
    assert answer.headers["content-type"].partition(";")[0] in described["content"]


def test_the_documentation_needs_nothing_from_elsewhere() -> None:
    page = resources.files("producers").joinpath("docs.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "import " not in page
