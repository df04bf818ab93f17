"""Measure the structure of the production code: python tools/house.py [FOLDER]. For comparing two checkouts."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("schemas", "runtime", "producers", "streams", "sinks", "operations", "goalpost", "console", "sandbox")
STAGES = ("producers", "streams", "sinks")
# Module names that say nothing to somebody who knows Kafka and Postgres.
DIALECT = frozenset(
    {
        "patience",
        "caution",
        "warden",
        "leash",
        "part",
        "taking",
        "intake",
        "meter",
        "admission",
        "hooks",
        "door",
        "exchange",
        "shortcut",
        "directory",
        "last_known",
        "lookup",
        "opening",
        "nesting",
        "stages",
        "portal",
        "runs",
        "ledger",
        "writer",
        "releases",
        "looking",
        "recognising",
        "following",
        "claiming",
        "sending",
        "holding",
        "watching",
        "matching",
        "work",
        "access",
        "renewal",
        "planning",
        "scheduling",
        "originals",
        "answers",
        "answer_fields",
        "form",
        "transport",
        "way",
        "stored",
        "sightings",
        "standing",
        "weighing",
        "scanning",
        "telling",
        "knowledge",
        "verdict",
        "findings",
        "given_settings",
        "moment",
        "table",
        "breaker",
        "reachability",
        "sections",
        "vault",
        "trouble",
        "statements",
        "rows",
        "construct",
    }
)
# At least so many of a conversion's fields side by side make a list that somebody has to keep.
FIELDS = frozenset(
    {
        "event_id",
        "webhook_id",
        "session_id",
        "yclid",
        "user_id",
        "purchase_id",
        "currency",
        "order_id",
        "occurred_at",
        "received_at",
        "email_md5",
        "phone_md5",
    }
)
_FIELD_LIST = 6


def modules(root: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield package, path and text of every module of production code."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            yield package, path.relative_to(root), path.read_text(encoding="utf-8")


def function_lines(tree: ast.AST) -> list[tuple[int, str]]:
    """Return length and name of each function."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [((node.end_lineno or 0) - node.lineno + 1, node.name) for node in ast.walk(tree) if isinstance(node, kinds)]


def inside_imports(package: str, tree: ast.AST) -> set[str]:
    """Return the modules deep inside a stage (a.b or deeper) that a module of another package imports."""
    found = set()
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name for name in names if name.split(".")[0] in STAGES and name.split(".")[0] != package}
    return found


def measured(root: Path) -> dict[str, object]:
    """Return the figures of a checkout."""
    files: dict[Path, int] = {}
    functions: list[tuple[int, str]] = []
    parameters: list[str] = []
    classes: dict[str, set[str]] = defaultdict(set)
    importers: dict[str, set[str]] = defaultdict(set)
    retry_loops, field_lists = [], []
    for package, path, text in modules(root):
        tree = ast.parse(text)
        files[path] = text.count("\n")
        functions += [(length, f"{path}:{name}") for length, name in function_lines(tree)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes[node.name].add(str(path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                if len(given.args) + len(given.kwonlyargs) + len(given.posonlyargs) > 8:
                    parameters.append(f"{path}:{node.name}")
        if package in ("operations", "goalpost", "console", "sandbox"):
            for name in inside_imports(package, tree):
                importers[name].add(str(path))
        if re.search(r"_?pauses?\(\)|min\(\w+ \* 2, |FIRST_PAUSE", text):
            retry_loops.append(str(path))
        field_lists += [f"{path}:{line}" for line in _field_lists(text)]
    for path in (*(root / "schemas" / "avro").glob("*.avsc"), *(root / "sinks").rglob("*.sql")):
        field_lists += [f"{path.relative_to(root)}:{line}" for line in _field_lists(path.read_text(encoding="utf-8"))]
    lengths = sorted(files.values())
    longest = max(functions)
    twice = {name: paths for name, paths in classes.items() if len(paths) > 1}
    connection = importers.get("sinks.postgres.connection", set())
    return {
        "files": len(files),
        "lines": sum(lengths),
        "median file": statistics.median(lengths),
        "largest file": max((count, str(path)) for path, count in files.items()),
        "median function": statistics.median(length for length, _ in functions),
        "largest function": longest,
        "functions with more than 8 parameters": len(parameters),
        "class names used twice": len(twice),
        "module names of our own dialect": sorted(str(path) for path in files if path.stem in DIALECT),
        "faces that import sinks.postgres.connection": len(connection),
        "modules with a retry loop of their own": retry_loops,
        "hand-kept lists of a conversion's fields": field_lists,
    }


def _field_lists(text: str) -> list[int]:
    """Return the lines at which a list of a conversion's fields begins."""
    found: list[int] = []
    run, names = 0, set[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        here = FIELDS & set(re.findall(r"\w+", line))
        names = names | here if here else (names if run and number - run < 4 else set())
        if here:
            run = number
        if len(names) >= _FIELD_LIST and (not found or number - found[-1] > 60):
            found.append(number)
            names = set()
    return found


def main() -> None:
    """Print the figures."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent
    for name, value in measured(root).items():
        shown = f"{len(value)}: {', '.join(map(str, value))}" if isinstance(value, list) else value
        print(f"{name}: {shown}")


if __name__ == "__main__":
    main()
