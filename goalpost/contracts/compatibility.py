"""Whether the schemas of today keep the promises of every release: BACKWARD_TRANSITIVE and a rule for what may go.

The judge is Apache Avro's own compatibility checker. The second rule is ours (docs/consumers.md): a field may go only
after a release that carried it as ``"deprecated": "<since and what to use instead>"``, and only if it has a default,
so that readers with an older schema go on.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

# File name of a schema to its text.
SchemaFiles = Mapping[str, str]

_DEPRECATED: Final = "deprecated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One promise that a schema breaks. ``difference`` shows both versions' fields side by side."""

    file: str
    release: str
    reason: str
    difference: str

    def __str__(self) -> str:
        return f"{self.file} breaks the promise of release {self.release}: {self.reason}\n{self.difference}"


def breaches(today: SchemaFiles, releases: Mapping[str, SchemaFiles]) -> Iterator[Breach]:
    """Yield what the schemas of ``today`` break of any of ``releases`` (version to its schemas, oldest first)."""
    for release, files in releases.items():
        for file, old in files.items():
            new = today.get(file)
            if new is None:
                yield Breach(file=file, release=release, reason="the schema is gone", difference="")
            else:
                yield from _breaches_of(file, release, old, new)


def _breaches_of(file: str, release: str, old: str, new: str) -> Iterator[Breach]:
    difference = _difference(file, release, old, new)
    for reason in (*_unreadable(old, new), *_gone_too_soon(old, new)):
        yield Breach(file=file, release=release, reason=reason, difference=difference)


def _unreadable(old: str, new: str) -> list[str]:
    """Why a reader with the new schema cannot read a record of the old one."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # its constructor alone has no types
    found = checker.get_compatibility(reader=parse(new), writer=parse(old))
    if found.compatibility is SchemaCompatibilityType.compatible:
        return []
    places = zip(sorted(found.locations), sorted(found.messages), strict=False)
    return [f"records of that release cannot be read any more: {message} at {place}" for place, message in places]


def _gone_too_soon(old: str, new: str) -> Iterator[str]:
    kept = {field["name"] for field in _fields(new)}
    for field in _fields(old):
        if field["name"] in kept:
            continue
        if _DEPRECATED not in field:
            yield f"{field['name']} is gone without having been deprecated in that release"
        elif "default" not in field:
            yield f"{field['name']} has no default, so readers with that release's schema would fail; keep it"


def _fields(schema: str) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = json.loads(schema)["fields"]
    return fields


def _difference(file: str, release: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(_lines(old), _lines(new), f"{release}/{file}", f"today/{file}", lineterm="", n=0)
    return "\n".join(f"    {line}" for line in lines)


def _lines(schema: str) -> list[str]:
    """One line per field: what matters for compatibility, without the explanations."""
    return [
        f"{field['name']}: {json.dumps(field['type'], ensure_ascii=False)}"
        + (f" = {json.dumps(field['default'])}" if "default" in field else "")
        for field in _fields(schema)
    ]
