"""What the service knew when it last ran: lets it open its door while Kafka or the registry do not answer.

Without it a restart in an outage would answer 503 until both are back, and some CRMs never repeat. It is used only
then: where Kafka answers, a secret that was revoked meanwhile must not be good for a moment longer.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from runtime.logs import logger
from runtime.registry import Registry, RegistryUnavailable
from schemas.codec import Codec
from schemas.contracts import Contract

T = TypeVar("T")

_FILE: Final = "last-known.json"


class LastKnown:
    """A file in the spool's folder. It holds what the topic of webhooks holds: hashes and encrypted secrets."""

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

    def remember_webhooks(self, encoded: Iterable[bytes]) -> None:
        """Keep all webhooks there are for the next process, as records of our own schema."""
        self._write("webhooks", [base64.b64encode(value).decode() for value in encoded])

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


def _name_of(contract: Contract[Any]) -> str:
    return f"{contract.topic.subject} {hashlib.sha256(contract.schema_text.encode()).hexdigest()}"
