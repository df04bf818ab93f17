"""What a process knew when it last ran: lets it begin while Kafka or the registry do not answer.

Without it a restart of the webhook service in an outage would answer 503 until both are back, and some CRMs never
repeat. It is used only then, and where the topic has lost what it had: otherwise a secret that was revoked meanwhile
must not be good for a moment longer.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from runtime.attention import Log
from runtime.logs import logger
from runtime.registry import Registry, RegistryUnavailable
from schemas.codec import Codec
from schemas.contracts import Contract

T = TypeVar("T")

_FILE: Final = "last-known.json"


class LastKnown:
    """A file in the process's folder. It holds what the topic of webhooks holds: hashes and encrypted secrets."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._content = self._read()

    def codec(self, contract: Contract[T], registry: Registry) -> Codec[T]:
        """Return the codec of a topic: with the registry's id of the schema, else with the one that it gave before.

        Raises:
            Fatal: the schema is not registered.
            RegistryUnavailable: no answer, and the id is not known from before. Ids never change once given.
        """
        name = _name_of(contract)
        known: dict[str, int] = self._content.get("schema_ids", {})
        try:
            codec = registry.codec(contract)
        except RegistryUnavailable as exc:
            if name not in known:
                raise
            logger().warning("schema_id.recalled", topic=contract.topic.name, why=str(exc))
            return contract.codec(schema_id=known[name], foreign_schema=registry.schema)
        self._write("schema_ids", {**known, name: codec.schema_id})
        return codec

    def webhooks(self) -> list[bytes]:
        """Return the webhooks, as they were given to :meth:`remember_webhooks`."""
        return [base64.b64decode(value) for value in self._content.get("webhooks", [])]

    def log(self) -> Log | None:
        """Return the log that the webhooks were read from; ``None`` if it is not known."""
        kept = self._content.get("log")
        try:
            return None if kept is None else _log_of(kept)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def remember_webhooks(self, encoded: Iterable[bytes], log: Log | None = None) -> None:
        """Keep all webhooks there are for the next process, as records; ``log`` is what they were read from."""
        self._write("webhooks", [base64.b64encode(value).decode() for value in encoded])
        if log is not None:
            self._write("log", _plain(log))

    def _read(self) -> dict[str, Any]:
        try:
            content = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            logger().warning("last_known.unreadable", error=str(exc))
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, part: str, value: object) -> None:
        """Replace one part; a disk that fails costs the next process its head start, and nothing else."""
        if self._content.get(part) == value:
            return
        self._content = {**self._content, part: value}
        unfinished = self._path.with_suffix(".part")
        try:
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(orjson.dumps(self._content))
            unfinished.replace(self._path)
        except OSError as exc:
            logger().warning("last_known.unwritten", error=str(exc))


def _plain(log: Log) -> dict[str, Any]:
    """Return a log as JSON has it, whose objects have no numbers for keys."""
    return {
        "topic_id": log.topic_id,
        "begins": {str(partition): offset for partition, offset in log.begins.items()},
        "ends": {str(partition): offset for partition, offset in log.ends.items()},
    }


def _log_of(kept: dict[str, Any]) -> Log:
    return Log(
        topic_id=str(kept["topic_id"]),
        begins={int(partition): int(offset) for partition, offset in kept["begins"].items()},
        ends={int(partition): int(offset) for partition, offset in kept["ends"].items()},
    )


def _name_of(contract: Contract[Any]) -> str:
    return f"{contract.topic.subject} {hashlib.sha256(contract.schema_text.encode()).hexdigest()}"
