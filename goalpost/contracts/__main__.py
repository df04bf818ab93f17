"""``python -m goalpost.contracts``: check the promises to other teams, write them down, keep a release's schemas."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
import yaml

import schemas
from goalpost.contracts.asyncapi import asyncapi
from goalpost.contracts.compatibility import SchemaFiles, breaches

_SCHEMAS: Final = Path(schemas.__path__[0])
_RELEASES: Final = _SCHEMAS / "releases"
DOCUMENT: Final = _SCHEMAS.parent / "asyncapi.yaml"

_WIDTH: Final = 120
_HEAD: Final = "# Written by `make contracts` from schemas/; do not edit.\n"


@click.group()
def main() -> None:
    """What other teams can rely on: asyncapi.yaml, and the schemas of every release."""


@main.command()
def check() -> None:
    """Exit with 1 where asyncapi.yaml is not what the code says, or a schema breaks a release's promise."""
    found = [str(breach) for breach in breaches(_files(_SCHEMAS / "avro"), _released())]
    if not DOCUMENT.is_file() or DOCUMENT.read_text(encoding="utf-8") != document():
        found.append("asyncapi.yaml is not what schemas/ says. Run `make contracts` and commit it.")
    if found:
        raise click.ClickException("\n".join(found))


@main.command()
def write() -> None:
    """Write asyncapi.yaml."""
    DOCUMENT.write_text(document(), encoding="utf-8")


@main.command()
@click.argument("release")
def keep(release: str) -> None:
    """Keep today's schemas as those of RELEASE; from then on `check` holds every change against them."""
    folder = _RELEASES / release
    if folder.exists():
        raise click.ClickException(f"The schemas of {release} are kept already. A release never changes.")
    shutil.copytree(_SCHEMAS / "avro", folder)


def document() -> str:
    """Return the text of asyncapi.yaml as the code has it."""
    content = asyncapi(version=version("goalpost"), examples=_examples())
    text = yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return _HEAD + str(text)


class _Plain(yaml.SafeDumper):
    """For people: equal parts are written out instead of pointed at, and a text of several lines keeps its lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Plain.add_representer(str, _Plain.represent_str)


def _examples() -> dict[str, list[dict[str, Any]]]:
    """The golden records by topic, each with its file's name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((_SCHEMAS / "examples").glob("*/good_*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "record" in content:
            found.setdefault(path.parent.name, []).append({"name": path.stem.removeprefix("good_"), **content})
    return found


def _files(folder: Path) -> SchemaFiles:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.avsc"))}


def _released() -> dict[str, SchemaFiles]:
    folders = sorted(_RELEASES.iterdir(), key=lambda folder: [int(part) for part in folder.name.split(".")])
    return {folder.name: _files(folder) for folder in folders}


if __name__ == "__main__":
    main()
