"""Objects from the names of form fields: ``leads[add][0][id]=5`` is ``{"leads": {"add": {"0": {"id": "5"}}}}``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

# CRMs nest six levels; JSON in Postgres and orjson end at some hundreds.
_DEPTH_LIMIT: Final = 16
_BRACKETED: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return a form's fields by name; a name that repeats has a list."""
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        known = found.get(name)
        if known is None:
            found[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            found[name] = [known, value]
    return found


def nested(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that a form's names describe.

    Indices stay keys, because CRMs leave gaps between them and mix them with names. Where one name is both a value
    and an object, the object stands. Of a repeated name the last value counts, of ``name[]`` each has an index.
    """
    root: dict[str, Any] = {}
    for name, value in form.items():
        match = _BRACKETED.fullmatch(name)
        parts = [match[1], *_PART.findall(match[2])] if match else [name]
        if len(parts) > _DEPTH_LIMIT:
            parts = [name]
        _place(root, parts, value)
    return root


def _place(root: dict[str, Any], parts: list[str], value: Any) -> None:
    *outer, last = parts
    at = root
    for part in outer:
        inner = at.get(part or str(len(at)))
        if not isinstance(inner, dict):
            inner = at[part or str(len(at))] = {}
        at = inner
    values = value if isinstance(value, list) else [value]
    if not last and outer:
        for one in values:
            at[str(len(at))] = one
    elif not isinstance(at.get(last), dict):
        at[last] = values[-1]
