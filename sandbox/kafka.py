"""The sandbox's Kafka: one KRaft node that is broker and controller, on loopback only."""

from __future__ import annotations

import base64
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sandbox.java import ENVIRONMENT, java
from sandbox.leash import Command
from sandbox.ports import LOOPBACK

HEAP_MEGABYTES = 640
# A body of 1 MiB inside Avro, with room for the envelope.
MESSAGE_MAX_BYTES = 2 * 1024 * 1024
PROBE_SECONDS = 2.0

# Paths are relative to the part's folder, its working folder: a comma in the folder's name would be a list here.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs=data
# A misspelt topic must be an error, not a new topic.
auto.create.topics.enable=false
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
# There is one node; and few partitions of the internal topics make the first consumer group and a restart quick.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# After kill -9 the node may not register again before its old session is over, by default 9 seconds. Much less than
# this, and a machine that is short of processors would have the node fenced while it is alive.
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
# A group whose only members are all here need not wait for more.
group.initial.rebalance.delay.ms=0
"""

LOGGING_PROPERTIES = """\
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c)%n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """One node, its folder and its two ports. `program` is the folder of its jars."""

    folder: Path
    program: Path
    port: int
    controller_port: int
    name: str = "kafka"

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return f"{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Writes the configuration."""
        text = SERVER_PROPERTIES.format(
            host=LOOPBACK,
            port=self.port,
            controller_port=self.controller_port,
            message_max_bytes=MESSAGE_MAX_BYTES,
        )
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.properties").write_text(LOGGING_PROPERTIES)

    @property
    def setup(self) -> Command:
        """Formats the storage, with a cluster id of its own."""
        arguments = ("format", "--cluster-id", _new_cluster_id(), "--config", "server.properties")
        return self._java("kafka.tools.StorageTool", *arguments)

    @property
    def command(self) -> Command:
        """Starts the node."""
        return self._java("kafka.Kafka", "server.properties")

    def ready(self) -> bool:
        """Whether the node answers, and is this one."""
        try:
            # Cheap, while the node is still far from answering; a client would wait longer and longer between attempts.
            socket.create_connection((LOOPBACK, self.port), PROBE_SECONDS).close()
        except OSError:
            return False
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            found = client.list_topics(timeout=PROBE_SECONDS)
        except KafkaException:
            return False
        return bool(found.brokers) and found.cluster_id == self._cluster_id()

    def _java(self, *arguments: str) -> Command:
        logging = "-Dlog4j2.configurationFile=log4j2.properties"
        argv = java(logging, "-cp", f"{self.program}/*", *arguments, heap_megabytes=HEAP_MEGABYTES)
        return Command(argv=argv, env=ENVIRONMENT, cwd=self.folder)

    def _cluster_id(self) -> str | None:
        lines = (self.folder / "data" / "meta.properties").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line).get("cluster.id")


def _new_cluster_id() -> str:
    """A UUID in the form that Kafka prints it. One that begins with a dash would be taken for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
