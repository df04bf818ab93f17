"""The stack in containers (testcontainers), with the images of docker-compose.yml."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from sandbox.stack import Addresses

_COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"
_REGISTRY_PORT = 8080
_INSIDE, _OUTSIDE, _CONTROLLER = 9092, 9094, 9093


def _image_of(service: str) -> str:
    composed: dict[str, Any] = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))
    return str(composed["services"][service]["image"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _kafka(port: int) -> DockerContainer:
    """One KRaft node. The port is chosen before the start, because a broker tells its clients its own address."""
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": f"INSIDE://:{_INSIDE},CONTROLLER://:{_CONTROLLER},OUTSIDE://:{_OUTSIDE}",
        "KAFKA_ADVERTISED_LISTENERS": f"INSIDE://localhost:{_INSIDE},OUTSIDE://localhost:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,OUTSIDE:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{_CONTROLLER}",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(_image_of("kafka")).with_bind_ports(_OUTSIDE, port)
    for name, value in settings.items():
        container = container.with_env(name, value)
    return container.waiting_for(LogMessageWaitStrategy("Kafka Server started"))


@contextmanager
def container_stack() -> Iterator[Addresses]:
    """Start Kafka, the registry and Postgres as containers and give their addresses."""
    kafka_port = _free_port()
    postgres = PostgresContainer(_image_of("postgres"), driver=None)
    registry = (
        DockerContainer(_image_of("registry"))
        .with_exposed_ports(_REGISTRY_PORT)
        .waiting_for(LogMessageWaitStrategy("Listening on"))
    )
    with _kafka(kafka_port), postgres, registry:
        host, port = registry.get_container_host_ip(), registry.get_exposed_port(_REGISTRY_PORT)
        yield Addresses(
            kafka_bootstrap_servers=f"localhost:{kafka_port}",
            schema_registry_url=f"http://{host}:{port}/apis/ccompat/v7",
            database_url=postgres.get_connection_url(),
        )
