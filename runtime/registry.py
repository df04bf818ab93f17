"""The schema registry, as much of Confluent's REST API as goalpost needs.

What the registry says is believed only where it speaks as one: with JSON of the expected shape. Everything else that
answers at its address (a proxy, a login page, a registry in the middle of its start) says nothing about a schema, so it
is an outage: records wait, and none of them becomes a dead letter for it.

Source of the error codes: Confluent Schema Registry documentation, "API Reference"; Apicurio's ``ccompat`` uses the
same.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from runtime.failures import Fatal, Transient
from runtime.transport import BrokenOff, Connections, session
from schemas.codec import Codec, SchemaText, UnknownSchemaId
from schemas.contracts import Contract

T = TypeVar("T")

# Of a whole answer, however slowly it comes.
_SECONDS: Final = 5.0
# The largest schema of ours has 4 000 characters.
_LARGEST_ANSWER_BYTES: Final = 1024 * 1024
_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_HEADERS: Final = {"Content-Type": _CONTENT_TYPE, "Accept": f"{_CONTENT_TYPE}, application/json"}

_NO_SUBJECT: Final = 40401
_NO_SCHEMA: Final = 40403
_NO_RULE: Final = 40408
_LARGEST_ID: Final = 2**31 - 1

# How many schemas, and ids without one, a process remembers: a topic has a handful, foreign producers may write any.
_REMEMBERED: Final = 1024
# A schema may be registered after a record that names it was read. Whoever has done that replays the letter at once; a
# flood of such records has it asked for ever less often.
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0

_REMEDIES: Final = {
    401: "; something wants credentials, check SCHEMA_REGISTRY_URL",
    403: "; something refuses this client, check SCHEMA_REGISTRY_URL",
    404: " without a registry's error code; SCHEMA_REGISTRY_URL must be the address to which /subjects is appended",
    407: "; a proxy wants credentials, check HTTP_PROXY and NO_PROXY",
    429: "; it is asked too often",
}


class RegistryUnavailable(Transient):
    """The schema registry does not answer, or what answers at its address does not speak as one."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"schema registry at {_shown(url)} does not answer as one ({cause})")


class Incompatible(Fatal):
    """The registry refuses a schema because consumers of older records could not read it."""

    def __init__(self, subject: str, answer: str) -> None:
        super().__init__(
            f"{subject}: the registry refuses the schema ({answer}). Add fields with defaults only, or use a new topic."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unknown:
    """An id without a schema; it is not asked for again before ``until``, ``pause`` seconds after it was."""

    until: float
    pause: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """An answer with JSON; of anything else ``fields`` is empty."""

    status: int
    fields: Mapping[str, Any]

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    def refuses(self, status: int, codes: Collection[int]) -> bool:
        """Whether the registry itself says one of ``codes``."""
        return self.status == status and self.fields.get("error_code") in codes

    @property
    def described(self) -> str:
        """What is wrong with it."""
        if self.good:
            return f"HTTP {self.status} without the JSON of a registry"
        if 300 <= self.status < 400:
            return f"HTTP {self.status}, a redirect; SCHEMA_REGISTRY_URL must be the registry's own address"
        return f"HTTP {self.status}{_REMEDIES.get(self.status, '')}"


class Registry:
    """A client with a cache: ids and schemas never change once given, so each is asked for once per process.

    ``clock`` is monotonic, in seconds. Threads may share it.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._lock = threading.Lock()
        self._texts: dict[int, SchemaText] = {}
        self._unknown: dict[int, _Unknown] = {}

    def register(self, subject: str, text: SchemaText) -> int:
        """Register ``text`` under ``subject`` (a repeat changes nothing) and return its id.

        Raises:
            Incompatible: the compatibility rule of the subject forbids it.
            RegistryUnavailable: no answer.
        """
        answer = self._ask("POST", f"/subjects/{subject}/versions", {"schema": text, "schemaType": "AVRO"})
        if answer.status in (409, 422) and isinstance(answer.fields.get("error_code"), int):
            raise Incompatible(subject, str(answer.fields.get("message", ""))[:300])
        return self._id_in(answer)

    def require_compatibility(self, subject: str, level: str) -> None:
        """Set the compatibility rule of ``subject``.

        Raises:
            RegistryUnavailable: no answer.
        """
        self._text_in(self._ask("PUT", f"/config/{subject}", {"compatibility": level}), "compatibility")

    def compatibility(self, subject: str) -> str | None:
        """Return the compatibility rule of ``subject``, or ``None`` if it has none of its own.

        Raises:
            RegistryUnavailable: no answer.
        """
        answer = self._ask("GET", f"/config/{subject}")
        if answer.refuses(404, (_NO_SUBJECT, _NO_RULE)):
            return None
        return self._text_in(answer, "compatibilityLevel")

    def id_of(self, subject: str, text: SchemaText) -> int | None:
        """Return the id under which ``text`` is registered for ``subject``, or ``None``.

        Raises:
            RegistryUnavailable: no answer.
        """
        answer = self._ask("POST", f"/subjects/{subject}", {"schema": text, "schemaType": "AVRO"})
        return None if answer.refuses(404, (_NO_SUBJECT, _NO_SCHEMA)) else self._id_in(answer)

    def schema(self, schema_id: int) -> SchemaText:
        """Return the schema with ``schema_id``.

        Raises:
            UnknownSchemaId: the registry has no such schema, so the record that names it is bad.
            RegistryUnavailable: no answer, so nothing is known about the record.
        """
        found = self._texts.get(schema_id)
        if found is not None:
            return found
        unknown, now = self._unknown.get(schema_id), self._clock()
        # Registries count from 1 in 32 bits with a sign; a record has room for more.
        if schema_id > _LARGEST_ID or (unknown is not None and now < unknown.until):
            raise UnknownSchemaId(schema_id)
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        if answer.refuses(404, (_NO_SCHEMA,)):
            self._remember(self._unknown, schema_id, _still_unknown(unknown, now))
            raise UnknownSchemaId(schema_id)
        text = self._text_in(answer, "schema")
        self._remember(self._texts, schema_id, text)
        return text

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

    def _remember(self, cache: dict[int, T], schema_id: int, what: T) -> None:
        with self._lock:
            cache.pop(schema_id, None)
            if len(cache) >= _REMEMBERED:
                del cache[next(iter(cache))]
            cache[schema_id] = what

    def _id_in(self, answer: _Answer) -> int:
        found = answer.fields.get("id")
        if not answer.good or not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _LARGEST_ID:
            raise RegistryUnavailable(self._url, answer.described)
        return found

    def _text_in(self, answer: _Answer, name: str) -> str:
        found = answer.fields.get(name)
        if not answer.good or not isinstance(found, str):
            raise RegistryUnavailable(self._url, answer.described)
        return found

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> _Answer:
        try:
            with session(Connections(), seconds=_SECONDS) as connections:
                # A compressed answer could be any size once it is opened; none is asked for, and none is opened.
                answer = connections.request(
                    method,
                    self._url + path,
                    json=body,
                    headers={**_HEADERS, "Accept-Encoding": "identity"},
                    timeout=_SECONDS,
                    allow_redirects=False,
                    stream=True,
                )
                content = answer.raw.read(_LARGEST_ANSWER_BYTES + 1, decode_content=False)
        except BrokenOff as exc:
            raise RegistryUnavailable(self._url, f"its answer takes more than {_SECONDS:.0f} s") from exc
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,  # of what stands in an address or in a header that is none
        ) as exc:
            raise RegistryUnavailable(self._url, type(exc).__name__) from exc
        return _Answer(status=answer.status_code, fields=_fields(answer.headers.get("Content-Type"), content))


def _fields(content_type: str | None, content: bytes) -> Mapping[str, Any]:
    """Return the JSON object in ``content``, empty where there is none."""
    if (content_type is not None and "json" not in content_type.lower()) or len(content) > _LARGEST_ANSWER_BYTES:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _still_unknown(before: _Unknown | None, now: float) -> _Unknown:
    """Wait twice as long as before where it is asked for all the time."""
    pause = _FIRST_PAUSE_SECONDS
    if before is not None and now < before.until + _LONGEST_PAUSE_SECONDS:
        pause = min(2 * before.pause, _LONGEST_PAUSE_SECONDS)
    return _Unknown(until=now + pause, pause=pause)


def _shown(url: str) -> str:
    """Return an address without the credentials that may stand in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "SCHEMA_REGISTRY_URL"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
