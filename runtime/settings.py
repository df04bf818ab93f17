"""Reads settings from the environment and says everything that is wrong with them at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from runtime.sections import SECTIONS, Section

# Read by the launcher and the sandbox before any process has settings.
OTHER_NAMES: Final = frozenset({"GOALPOST_HOME", "GOALPOST_CACHE_DIR", "GOALPOST_TEST_STACK"})


class BadSettings(Exception):
    """One message that lists every wrong, missing or unknown setting."""

    def __init__(self, problems: list[str]) -> None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"The settings are not usable:\n{listed}\nEvery setting is described in .env.example.")
        self.problems = problems


def names_of(section: type[Section]) -> dict[str, str]:
    """Return ``{ENVIRONMENT_NAME: field}`` of a section."""
    return {str(info.validation_alias): field for field, info in section.model_fields.items()}


def all_names() -> frozenset[str]:
    """Return the name of every setting there is."""
    return frozenset(name for section in SECTIONS for name in names_of(section)) | OTHER_NAMES


def load(*sections: type[Section], environ: Mapping[str, str] | None = None) -> tuple[Any, ...]:
    """Read ``sections`` from the environment.

    Raises:
        BadSettings: lists every missing, wrong and unknown (``GOALPOST_*``) setting in one message.
    """
    environment = os.environ if environ is None else environ
    problems = list(_unknown(environment))
    loaded = []
    for section in sections:
        values = {name: environment[name] for name in names_of(section) if environment.get(name, "") != ""}
        try:
            loaded.append(section.model_validate(values))
        except ValidationError as exc:
            problems.extend(_explained(exc))
    if problems:
        raise BadSettings(problems)
    return tuple(loaded)


def _explained(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, part['loc']))}: {_reason(part['type'], part['msg'])}" for part in error.errors()]


def _reason(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing; set it in the environment or in .env"
    return message.removeprefix("Value error, ")  # pydantic's, in front of a validator's own words


def _unknown(environment: Mapping[str, str]) -> list[str]:
    known = all_names()
    problems = []
    for name in sorted(environment):
        if name.startswith("GOALPOST_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return problems
