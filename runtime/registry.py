"""The schema registry, as much of Confluent's REST API as goalpost needs."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import requests

from runtime.failures import Fatal, Transient
from schemas.codec import Codec, SchemaText, UnknownSchemaId
from schemas.contracts import Contract

T = TypeVar("T")

_SECONDS: Final = 5
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_CONTENT_TYPE: Final = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


class RegistryUnavailable(Transient):
    """The schema registry does not answer."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"schema registry at {url} does not answer ({cause})")


class Incompatible(Fatal):
    """The registry refuses a schema because consumers of older records could not read it."""

    def __init__(self, subject: str, answer: str) -> None:
        super().__init__(
            f"{subject}: the registry refuses the schema ({answer}). Add fields with defaults only, or use a new topic."
        )


class Registry:
    """A client with a cache: ids and schemas never change once given, so each is asked for once per process."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._texts: dict[int, SchemaText] = {}

    def register(self, subject: str, text: SchemaText) -> int:
        """Register ``text`` under ``subject`` (a repeat changes nothing) and return its id.

        Raises:
            Incompatible: the compatibility rule of the subject forbids it.
            RegistryUnavailable: no answer.
        """
        answer = self._ask("POST", f"/subjects/{subject}/versions", {"schema": text, "schemaType": "AVRO"})
        if answer.status_code in (_CONFLICT, 422):
            raise Incompatible(subject, answer.text[:300])
        return int(self._json(answer)["id"])

    def require_compatibility(self, subject: str, level: str) -> None:
        """Set the compatibility rule of ``subject``."""
        self._json(self._ask("PUT", f"/config/{subject}", {"compatibility": level}))

    def compatibility(self, subject: str) -> str | None:
        """Return the compatibility rule of ``subject``, or ``None`` if it has none of its own."""
        answer = self._ask("GET", f"/config/{subject}")
        return None if answer.status_code == _NOT_FOUND else str(self._json(answer)["compatibilityLevel"])

    def id_of(self, subject: str, text: SchemaText) -> int | None:
        """Return the id under which ``text`` is registered for ``subject``, or ``None``."""
        answer = self._ask("POST", f"/subjects/{subject}", {"schema": text, "schemaType": "AVRO"})
        if answer.status_code == _NOT_FOUND:
            return None
        return int(self._json(answer)["id"])

    def schema(self, schema_id: int) -> SchemaText:
        """Return the schema with ``schema_id``.

        Raises:
            UnknownSchemaId: the registry has no such schema, so the record that names it is bad.
            RegistryUnavailable: no answer, so nothing is known about the record.
        """
        if schema_id not in self._texts:
            answer = self._ask("GET", f"/schemas/ids/{schema_id}")
            if answer.status_code == _NOT_FOUND:
                raise UnknownSchemaId(schema_id)
            self._texts[schema_id] = str(self._json(answer)["schema"])
        return self._texts[schema_id]

    def codec(self, contract: Contract[T]) -> Codec[T]:
        """Return the codec of a topic, with the id that the registry has for our schema.

        Raises:
            Fatal: the schema is not registered.
            RegistryUnavailable: no answer.
        """
        schema_id = self.id_of(contract.topic.subject, contract.schema_text)
        if schema_id is None:
            raise Fatal(f"{contract.topic.subject}: this schema is not registered. Run `goalpost topics apply`.")
        return contract.codec(schema_id=schema_id, foreign_schema=self.schema)

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> requests.Response:
        try:
            answer = requests.request(method, self._url + path, json=body, headers=_CONTENT_TYPE, timeout=_SECONDS)
        except requests.RequestException as exc:
            raise RegistryUnavailable(self._url, type(exc).__name__) from exc
        if answer.status_code >= 500:
            raise RegistryUnavailable(self._url, f"HTTP {answer.status_code}")
        return answer

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        if not answer.ok:
            raise Fatal(
                f"schema registry at {self._url} answered HTTP {answer.status_code} to {answer.request.method}. "
                "Check SCHEMA_REGISTRY_URL: it must be the address to which /subjects is appended."
            )
        content = answer.json()
        return content if isinstance(content, dict) else {}
