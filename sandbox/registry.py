"""The sandbox's schema registry: Apicurio Registry, whose Confluent-compatible API is what everybody here speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import requests

from sandbox.java import ENVIRONMENT, java
from sandbox.leash import Command
from sandbox.ports import LOOPBACK

HEAP_MEGABYTES = 320
PROBE_SECONDS = 2.0

# Quarkus reads this file from the folder `config` of the working folder. The path of the database is relative to the
# working folder: a semicolon in the folder's name would begin an option there.
# WRITE_DELAY=0: with H2's default a schema id that a client already uses would be lost by `kill -9`.
# The management interface can't be switched off; by default it is on port 9000 of every network interface.
APPLICATION_PROPERTIES = """\
quarkus.http.host={host}
quarkus.http.port={port}
quarkus.management.host={host}
quarkus.management.port={management_port}
quarkus.http.access-log.enabled=false
quarkus.banner.enabled=false
apicurio.storage.kind=sql
apicurio.storage.sql.kind=h2
apicurio.datasource.url=jdbc:h2:file:./data/registry;WRITE_DELAY=0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """One registry, its folder and its two ports. `program` is the folder of its jars."""

    folder: Path
    program: Path
    port: int
    management_port: int
    name: str = "registry"

    @property
    def address(self) -> str:
        """The address to which `/subjects/...` is appended."""
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def prepare(self) -> None:
        """Writes the configuration."""
        text = APPLICATION_PROPERTIES.format(host=LOOPBACK, port=self.port, management_port=self.management_port)
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config" / "application.properties").write_text(text)

    @property
    def setup(self) -> None:
        """Nothing: the registry makes its database when it finds none."""

    @property
    def command(self) -> Command:
        """Starts the registry."""
        argv = java("-jar", str(self.program / "quarkus-run.jar"), heap_megabytes=HEAP_MEGABYTES)
        return Command(argv=argv, env=ENVIRONMENT, cwd=self.folder)

    def ready(self) -> bool:
        """Whether the registry answers."""
        with requests.Session() as session:
            session.trust_env = False  # a proxy that the environment names knows nothing of our loopback
            try:
                return session.get(f"{self.address}/subjects", timeout=PROBE_SECONDS).ok
            except requests.RequestException:
                return False
