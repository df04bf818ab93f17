"""Maintenance: decides which files the sandbox's programs consist of, and pins them in `artifacts.lock.json`.

    python -m sandbox lock

Change a version below, run it, and read the difference that it makes. At run time nothing is resolved any more.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.artifacts import LOCK

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
# Kafka's own distribution adds this to what its jar depends on; without it Kafka writes no log. The version has to be
# that of log4j-core in the resolved set, and it is resolved alone: together, each would manage the other's versions.
KAFKA_LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl")
LOGGING_CORE = "log4j-core"
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "all", "tar.gz")


def lock() -> None:
    """Resolves, downloads to a temporary folder, and writes the lock file."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - slow, and needed by nobody else

    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        locked = {
            "kafka": {"version": KAFKA.rpartition(":")[2], "artifacts": _pin(_kafka(context))},
            "registry": {"version": REGISTRY[2], "artifacts": _pin([_registry(context)])},
        }
    LOCK.write_text(json.dumps(locked, indent=1) + "\n")


def _kafka(context: MavenContext) -> list[Artifact]:
    given, needed = context.resolver.resolve([context.create_dependency(KAFKA)])
    artifacts = [dependency.artifact for dependency in (*given, *needed)]
    version = next(artifact.version for artifact in artifacts if artifact.artifactId == LOGGING_CORE)
    return [*artifacts, context.project(*KAFKA_LOGGING).at_version(version).artifact()]


def _registry(context: MavenContext) -> Artifact:
    group, name, version, classifier, packaging = REGISTRY
    return context.project(group, name).at_version(version).artifact(classifier, packaging)


def _pin(artifacts: Iterable[Artifact]) -> list[dict[str, str | int]]:
    pinned: list[dict[str, str | int]] = []
    for artifact in artifacts:
        content = artifact.resolve().read_bytes()
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        if artifact.packaging != "jar":
            coordinate += f":{artifact.packaging}:{artifact.classifier}"
        digest = hashlib.sha256(content).hexdigest()
        pinned.append({"coordinate": coordinate, "size_bytes": len(content), "sha256": digest})
    return sorted(pinned, key=lambda entry: str(entry["coordinate"]))
