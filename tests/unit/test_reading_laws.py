"""Laws of code that reads what others may have written; each names a way in which a record once ended a process."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
# Where records and answers are read. What comes in over HTTP has laws of its own.
FOLDERS: Final = ("schemas", "runtime", "streams", "sinks", "goalpost", "producers/fetching")

# A call by its name, where it may stand, and what to do instead.
LAWS: Final = {
    "isdigit": (
        {"schemas/records.py", "sinks/metrika/answer_fields.py"},  # both know how long a number may be
        "it is true of digits that int() refuses; use schemas.records.whole_number",
    ),
    "fromtimestamp": (
        {"schemas/dead_letter.py"},  # of our own clock
        "it raises for times that Kafka takes; use goalpost.moment.iso",
    ),
    "parse_schema": (
        {"schemas/codec.py", "goalpost/topics/reading.py", "streams/state/entries.py"},
        "a foreign schema may be endless; let schemas.foreign.admitted look through it first",
    ),
    "schemaless_reader": (
        {"schemas/codec.py", "goalpost/topics/reading.py", "streams/state/entries.py"},
        "it loops and recurses as bytes tell it; use a codec",
    ),
}


def _calls(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield name, node.lineno


@pytest.mark.parametrize("law", sorted(LAWS))
def test_it_is_called_only_where_it_is_known_to_be_safe(law: str) -> None:
    allowed, instead = LAWS[law]
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, line in _calls(path)
        if name == law and str(path.relative_to(ROOT)) not in allowed
    }

    assert not found, f"{law}: {instead}"


def test_json_of_others_is_read_where_its_depth_is_no_matter() -> None:
    """``json.loads`` raises RecursionError, which is no ValueError, for what is nested deep enough."""
    found = set()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "json.loads(" in text.replace("orjson.loads(", "") and "RecursionError" not in text:
                found.add(str(path.relative_to(ROOT)))

    # Of these files' own making: schemas in the package, a file of the state's folder, generated contracts.
    assert found <= {
        "goalpost/contracts/__main__.py",
        "goalpost/contracts/asyncapi.py",
        "goalpost/contracts/compatibility.py",
        "schemas/codec.py",
        "streams/state/folder.py",
    }
