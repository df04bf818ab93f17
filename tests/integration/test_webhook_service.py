"""The webhook service as a process of its own, against Kafka and the registry; Postgres is not even named to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest

from goalpost.cluster import records
from runtime import kafka
from runtime.registry import Registry
from runtime.vault import Vault, generate_key, hash_of
from sandbox import ports
from sandbox.stack import Addresses
from schemas.contracts import RAW_EVENTS, WEB_SESSIONS, WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.records import Incoming, Outgoing, header
from schemas.topics import RAW, REJECTED, SESSIONS, WEBHOOKS

WRITE_KEY = "write-key-of-the-site"
NOBODY = "127.0.0.1:1"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service and what it was told."""

    url: str
    health: str
    process: subprocess.Popen[bytes]
    webhook_id: str
    secret: str
    addresses: Addresses
    vault: Vault
    key: str
    log: Path

    def post(self, path: str, content: bytes | str, **headers: str) -> httpx.Response:
        """Send to the service with the webhook's secret."""
        shown = {"X-Webhook-Secret": self.secret, "X-Write-Key": WRITE_KEY, **headers}
        return httpx.post(self.url + path, content=content, headers=shown, timeout=10)

    def configure(self, webhook_id: str, *secrets: str, gone: bool = False, dialect: str = "generic") -> None:
        """Write a webhook to the directory."""
        codec = Registry(self.addresses.schema_registry_url).codec(WEBHOOK_CONFIGURATIONS)
        configured = Webhook(
            webhook_id=webhook_id,
            counter_id=str(uuid.uuid4()),
            metrika_counter_id=1,
            name="test",
            dialect=dialect,
            secret_hashes=tuple(hash_of(secret) for secret in secrets),
            sealed_secrets=tuple(self.vault.seal(secret) for secret in secrets),
            default_goal="crm_conversion",
            changed_at=0,
        )
        record = Outgoing(
            topic=WEBHOOKS.name, key=webhook_id.encode(), value=None if gone else codec.encode(configured)
        )
        kafka.Sender(kafka.producer(self.addresses.kafka_bootstrap_servers, client_id="test")).send([record])


@contextmanager
def running(
    home: Path, addresses: Addresses, *, kafka_at: str | None = None, registry_at: str | None = None, **settings: str
) -> Iterator[Service]:
    home.mkdir(parents=True, exist_ok=True)
    key = generate_key()
    block = ports.claim(home / "ports")
    environment = {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": kafka_at or addresses.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": registry_at or addresses.schema_registry_url,
        "GOALPOST_SECRET_KEY": key,
        "GOALPOST_SESSIONS_WRITE_KEY": WRITE_KEY,
        "GOALPOST_WEBHOOK_PORT": str(block.port(1)),
        "GOALPOST_HEALTH_PORT": str(block.port(2)),
        "GOALPOST_LOG_JSON": "true",
        "GOALPOST_SPOOL_DIR": str(home / "spool"),
        **settings,
    }
    log = home / "webhook.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "producers"], env=environment, stderr=output, stdout=output)
    service = Service(
        url=f"http://127.0.0.1:{block.port(1)}",
        health=f"http://127.0.0.1:{block.port(2)}",
        process=process,
        webhook_id=str(uuid.uuid4()),
        secret=f"secret-{uuid.uuid4()}",
        addresses=addresses,
        vault=Vault(key),
        key=key,
        log=log,
    )
    try:
        until(lambda: answers(service, "/healthz"), log)
        yield service
    finally:
        process.kill()
        process.wait()
        block.close()


def answers(service: Service, path: str) -> bool:
    base = service.health if path == "/readyz" else service.url
    try:
        return httpx.get(base + path, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def waited_for(service: Service) -> dict[str, str]:
    """Return what the service says that it waits for."""
    found: dict[str, str] = httpx.get(f"{service.health}/readyz", timeout=10).json()["waiting_for"]
    return found


def until(condition: Callable[[], bool], log: Path | None = None, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        said = log.read_text() if log else ""
        assert time.monotonic() < deadline, f"it did not happen in time. {said}"
        time.sleep(0.05)


def read_all(addresses: Addresses, topic: str) -> list[Incoming]:
    """Return everything that the topic holds now."""
    return list(records(addresses.kafka_bootstrap_servers, [topic]))


@pytest.fixture(scope="module")
def service(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with one webhook, ready."""
    with running(tmp_path_factory.mktemp("webhook"), stack) as started:
        started.configure(started.webhook_id, started.secret)
        until(lambda: answers(started, "/readyz"), started.log)
        until(lambda: started.post(f"/hooks/{started.webhook_id}", b"").status_code == 200, started.log)
        yield started


def test_202_means_that_the_record_is_in_the_topic(service: Service) -> None:
    session_id = str(uuid.uuid4())
    body = f'{{"session_id": "{session_id}",  "goal_value": "1 500,50", "manager": "\\u0416"}}'
    answer = service.post("/functions/v1/crm-conversion-hook", body, **{"Content-Type": "application/json"})
    assert answer.status_code == 202
    (event_id,) = answer.json()["event_ids"]
    (record,) = [one for one in read_all(service.addresses, RAW.name) if header(one.headers, "event_id") == event_id]
    event = Registry(service.addresses.schema_registry_url).codec(RAW_EVENTS).decode(record.value)
    assert record.key == f"s:{session_id}".encode()
    assert (event.body, event.payload) == (body.encode(), None)
    assert (event.event_id, event.webhook_id) == (event_id, service.webhook_id)
    assert abs(record.timestamp - event.received_at) < 60_000


def test_every_conversion_of_many_parallel_requests_arrives_once(service: Service) -> None:
    import asyncio  # noqa: PLC0415 - only here

    async def send_all() -> list[str]:
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
            headers = {"X-Webhook-Secret": service.secret}
            bodies = [[{"session_id": str(uuid.uuid4())} for _ in range(1 + number % 3)] for number in range(300)]
            answers = await asyncio.gather(
                *(client.post(f"/hooks/{service.webhook_id}", json=body, headers=headers) for body in bodies)
            )
        assert {answer.status_code for answer in answers} == {202}
        return [one for answer in answers for one in answer.json()["event_ids"]]

    accepted = asyncio.run(send_all())
    stored = [header(one.headers, "event_id") for one in read_all(service.addresses, RAW.name)]
    assert len(accepted) == len(set(accepted)) == 600
    assert {one: stored.count(one) for one in accepted} == dict.fromkeys(accepted, 1)


def test_a_form_that_cannot_be_used_is_kept_with_its_reason(service: Service) -> None:
    body = f"goal_value=5&deal={uuid.uuid4()}".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = service.post(f"/hooks/{service.webhook_id}", body, **form)
    assert (answer.status_code, answer.json()["rejected"][:28]) == (200, "Missing session_id or ym_uid")
    (record,) = [one for one in read_all(service.addresses, REJECTED.name) if one.value == body]
    assert record.key == service.webhook_id.encode()
    assert header(record.headers, "dlq.error.class") == "no_visitor"


def test_webhooks_come_change_and_go_while_the_service_runs(service: Service) -> None:
    webhook_id = str(uuid.uuid4())
    address = f"/hooks/{webhook_id}"
    old, new = f"old-{uuid.uuid4()}", f"new-{uuid.uuid4()}"

    def status(secret: str) -> int:
        return service.post(address, b"", **{"X-Webhook-Secret": secret}).status_code

    assert status(old) == 404
    service.configure(webhook_id, old)
    until(lambda: status(old) == 200)
    service.configure(webhook_id, new)
    until(lambda: status(new) == 200)
    assert status(old) == 401
    service.configure(webhook_id, gone=True)
    until(lambda: status(new) == 404)


def test_sessions_are_in_their_topic_under_both_keys(service: Service) -> None:
    session_id, ym_uid = str(uuid.uuid4()), str(uuid.uuid4().int)[:18]
    body = orjson.dumps({"session_id": session_id, "ym_uid": ym_uid, "page": "/"})
    assert service.post("/sessions", body).json() == {"success": True, "sessions": 1}
    row = {"id": str(uuid.uuid4()), "session_id": f"{session_id}-b", "analytics_data": {"ids": {"ym_uid": ym_uid}}}
    change = orjson.dumps({"type": "INSERT", "table": "user_analytics", "record": row})
    assert service.post("/sessions/supabase", change).json() == {"success": True, "sessions": 1}
    codec = Registry(service.addresses.schema_registry_url).codec(WEB_SESSIONS)
    keys = {f"s:{session_id}".encode(), f"s:{session_id}-b".encode(), f"u:{ym_uid}".encode()}
    mine = [one for one in read_all(service.addresses, SESSIONS.name) if one.key in keys]
    assert [one.key for one in mine].count(f"u:{ym_uid}".encode()) == 2
    created = {session.session_id: session.creates_row for session in (codec.decode(one.value) for one in mine)}
    assert created == {session_id: True, f"{session_id}-b": False}


def test_sigterm_finishes_what_is_in_flight_and_ends_with_zero(stack: Addresses, tmp_path: Path) -> None:
    with running(tmp_path, stack) as service:
        service.configure(service.webhook_id, service.secret)
        until(lambda: answers(service, "/readyz"), service.log)
        until(lambda: service.post(f"/hooks/{service.webhook_id}", b"").status_code == 200)
        with httpx.Client(base_url=service.url, timeout=10) as client:

            def slowly() -> Iterator[bytes]:
                yield b'{"session_id": "in flight'
                service.process.send_signal(signal.SIGTERM)
                until(lambda: not answers(service, "/healthz"))
                yield b'"}'

            answer = client.post(
                f"/hooks/{service.webhook_id}", content=slowly(), headers={"X-Webhook-Secret": service.secret}
            )
        assert answer.status_code == 202
        assert service.process.wait(timeout=20) == 0
        events = [orjson.loads(line)["event"] for line in service.log.read_bytes().splitlines()]
        assert (events[0], events[-1]) == ("webhook.started", "webhook.stopped")
        assert service.secret not in service.log.read_text()


def test_without_kafka_and_spool_the_answer_is_503_in_time_and_the_page_says_why(
    stack: Addresses, tmp_path: Path
) -> None:
    settings = {"GOALPOST_SPOOL_MAX_BYTES": "0", "GOALPOST_DRAIN_SECONDS": "2"}
    with running(tmp_path, stack, kafka_at=NOBODY, **settings) as service:
        until(
            lambda: "webhooks" in httpx.get(f"{service.health}/readyz", timeout=10).json()["waiting_for"], service.log
        )
        assert "kafka" in httpx.get(f"{service.health}/readyz", timeout=10).json()["waiting_for"]
        began = time.monotonic()
        for path, body in (("/functions/v1/crm-conversion-hook", b"{}"), ("/sessions", b'{"session_id": "s"}')):
            answer = service.post(path, body)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert time.monotonic() - began < 5
        service.process.terminate()
        assert service.process.wait(timeout=20) == 0
        # What was answered 503 is nowhere: nothing that a sender will repeat lingers.
        assert '"records_in_spool": 0' in service.log.read_text()


def test_what_a_process_says_of_itself_is_on_its_health_address_only(service: Service) -> None:
    assert [
        httpx.get(service.health + page, timeout=10).status_code for page in ("/healthz", "/readyz", "/metrics")
    ] == [
        200,
        200,
        200,
    ]
    assert httpx.get(f"{service.url}/healthz", timeout=10).json()["status"] == "ok"
    assert [httpx.get(service.url + page, timeout=10).status_code for page in ("/readyz", "/metrics")] == [404, 404]
    assert "webhook_requests_total" in httpx.get(f"{service.health}/metrics", timeout=10).text


def test_without_the_registry_it_waits_and_can_still_be_stopped(stack: Addresses, tmp_path: Path) -> None:
    with running(tmp_path, stack, registry_at=f"http://{NOBODY}") as service:
        assert "schema registry" in waited_for(service)
        assert service.post("/functions/v1/crm-conversion-hook", b"{}").status_code == 503
        service.process.terminate()
        assert service.process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"GOALPOST_SECRET_KEY": "no key"}, 2, "GOALPOST_SECRET_KEY is not a Fernet key"),
        ({"GOALPOST_WEBHOOK_PORT": "many", "GOALPOST_LINGER_MS": "-1"}, 2, "GOALPOST_LINGER_MS"),
        ({"GOALPOST_WEBHOOK_HOST": "192.0.2.1"}, 1, "GOALPOST_WEBHOOK_HOST"),
    ],
)
def test_a_setting_that_cannot_work_ends_the_process_with_a_remedy(
    settings: dict[str, str], code: int, says: str
) -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": NOBODY,
        "SCHEMA_REGISTRY_URL": f"http://{NOBODY}",
        "GOALPOST_SECRET_KEY": generate_key(),
        "GOALPOST_SESSIONS_WRITE_KEY": WRITE_KEY,
        "GOALPOST_WEBHOOK_PORT": "0",
        "GOALPOST_HEALTH_PORT": "0",
        **settings,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "producers"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, says in ended.stderr.decode()) == (code, True), ended.stderr.decode()
