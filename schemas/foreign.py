"""Schemas that other programs wrote records with: admitted where reading by them costs no more than the record's size.

fastavro's compiled reader goes as deep and loops as often as a schema and a few bytes tell it to: a type that holds
itself ends the process with its stack, and an array of nulls, or types that hold each other twice, keep it busy for
years over a record of ten bytes. So a schema is looked through first, once, and what fastavro gets is made anew of the
attributes that are known here.

Source of the rules: Avro specification, "Schema Declaration" and "Names".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

# Ours have up to 4 000 characters, one level inside of a record, and some forty values.
_LONGEST_TEXT: Final = 256 * 1024
_DEEPEST: Final = 32
_MOST_VALUES: Final = 4096
# Of each byte that an item of an array or a map takes at least; of one that takes none, any number could be claimed.
_VALUES_PER_BYTE: Final = 8

_BYTES_AT_LEAST: Final = {
    "null": 0,
    **dict.fromkeys(("boolean", "int", "long", "bytes", "string"), 1),
    "float": 4,
    "double": 8,
}
# What says how a value is to be understood; whoever reads as goalpost does leaves it out.
_LOGICAL: Final = ("logicalType", "precision", "scale")


class Inadmissible(ValueError):
    """The schema is none, or reading by it could cost any amount of time or memory. The message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """Of one value of a type: values that it consists of at most, items left out; bytes at least; levels."""

    values: int = 1
    least_bytes: int = 0
    levels: int = 0


@dataclass(slots=True)
class _Names:
    """The named types met so far; one that is not complete yet has no cost."""

    known: dict[str, _Cost | None] = field(default_factory=dict)


def admitted(text: str, *, logical: bool = False) -> Any:
    """Return the schema in ``text`` as far as it is needed for reading, ready to be parsed by fastavro.

    With ``logical`` it keeps what decimals and times are declared by.

    Raises:
        Inadmissible: it is no Avro schema, or may not be read by.
    """
    if len(text) > _LONGEST_TEXT:
        raise Inadmissible(f"it has more than {_LONGEST_TEXT} characters")
    try:
        declared = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Inadmissible(f"it is no JSON ({type(exc).__name__})") from exc
    schema, _ = _looked_through(declared, _Names(), "", 0, logical)
    return schema


def _looked_through(declared: Any, names: _Names, namespace: str, level: int, logical: bool) -> tuple[Any, _Cost]:
    """Return a type without what is not known here, and what one value of it costs."""
    if level > _DEEPEST:
        raise Inadmissible(f"it has more than {_DEEPEST} levels")
    if isinstance(declared, str):
        return _by_name(declared, names, namespace)
    if isinstance(declared, list):
        return _union(declared, names, namespace, level, logical)
    if not isinstance(declared, dict):
        raise Inadmissible("a type is neither a name, an object nor a list")
    match declared.get("type"):
        case "record" | "error":
            return _record(declared, names, namespace, level, logical)
        case "enum" | "fixed":
            return _leaf(declared, names, namespace, logical)
        case "array" | "map" as kind:
            inside = "items" if kind == "array" else "values"
            item, cost = _looked_through(declared.get(inside), names, namespace, level + 1, logical)
            least = cost.least_bytes + (1 if kind == "map" else 0)  # the length of its key
            if cost.values > _VALUES_PER_BYTE * least:
                raise Inadmissible(f"the items of its {kind} take next to no bytes")
            return {"type": kind, inside: item}, _checked(_Cost(least_bytes=1, levels=cost.levels + 1))
        case other:
            inner, cost = _looked_through(other, names, namespace, level + 1, logical)
            kept: dict[str, Any] = {one: declared[one] for one in _LOGICAL if logical and one in declared}
            return ({"type": inner, **kept} if kept else inner), cost


def _by_name(name: str, names: _Names, namespace: str) -> tuple[str, _Cost]:
    if name in _BYTES_AT_LEAST:
        return name, _Cost(least_bytes=_BYTES_AT_LEAST[name])
    full = _full_name(name, namespace)
    if full not in names.known:
        raise Inadmissible("it names a type that it does not declare before")
    cost = names.known[full]
    if cost is None:
        raise Inadmissible("one of its types holds itself")
    return full, cost


def _union(branches: list[Any], names: _Names, namespace: str, level: int, logical: bool) -> tuple[Any, _Cost]:
    if not branches or any(isinstance(branch, list) for branch in branches):
        raise Inadmissible("a union has no branch, or another union as one")
    found = [_looked_through(branch, names, namespace, level + 1, logical) for branch in branches]
    cost = _Cost(
        values=1 + max(one.values for _, one in found),
        least_bytes=1 + min(one.least_bytes for _, one in found),
        levels=1 + max(one.levels for _, one in found),
    )
    return [branch for branch, _ in found], _checked(cost)


def _record(
    declared: dict[str, Any], names: _Names, namespace: str, level: int, logical: bool
) -> tuple[dict[str, Any], _Cost]:
    name, namespace = _declared(declared, names, namespace)
    listed = declared.get("fields")
    if not isinstance(listed, list):
        raise Inadmissible("a record has no list of fields")
    fields: list[dict[str, Any]] = []
    values, least_bytes, levels = 1, 0, 0
    for one in listed:
        if not isinstance(one, dict) or not _is_name(one.get("name")):
            raise Inadmissible("a field has no name")
        kind, cost = _looked_through(one.get("type"), names, namespace, level + 1, logical)
        fields.append({"name": one["name"], "type": kind})
        values, least_bytes = values + cost.values, least_bytes + cost.least_bytes
        levels = max(levels, cost.levels)
        _checked(_Cost(values=values))
    names.known[name] = cost = _checked(_Cost(values=values, least_bytes=least_bytes, levels=levels + 1))
    return {"type": "record", "name": name, "fields": fields}, cost


def _leaf(declared: dict[str, Any], names: _Names, namespace: str, logical: bool) -> tuple[dict[str, Any], _Cost]:
    name, _ = _declared(declared, names, namespace)
    kept: dict[str, Any] = {one: declared[one] for one in _LOGICAL if logical and one in declared}
    if declared["type"] == "enum":
        symbols = declared.get("symbols")
        if not isinstance(symbols, list) or not symbols or not all(map(_is_name, symbols)):
            raise Inadmissible("an enum has no list of symbols")
        names.known[name] = cost = _Cost(least_bytes=1)
        return {"type": "enum", "name": name, "symbols": symbols}, cost
    size = declared.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 31:
        raise Inadmissible("a fixed type has no size")
    names.known[name] = cost = _Cost(least_bytes=size)
    return {"type": "fixed", "name": name, "size": size, **kept}, cost


def _checked(cost: _Cost) -> _Cost:
    if cost.values > _MOST_VALUES:
        raise Inadmissible(f"a value of it may consist of more than {_MOST_VALUES} values")
    if cost.levels > _DEEPEST:
        raise Inadmissible(f"it has more than {_DEEPEST} levels")
    return cost


def _declared(declared: dict[str, Any], names: _Names, namespace: str) -> tuple[str, str]:
    """Return the full name of a type that is being declared, and the namespace inside of it."""
    name, said = declared.get("name"), declared.get("namespace", namespace)
    if not _is_name(name) or not isinstance(said, str):
        raise Inadmissible("a type has no name")
    full = _full_name(str(name), said)
    if full in names.known or full in _BYTES_AT_LEAST:
        raise Inadmissible("it declares a name twice")
    names.known[full] = None
    return full, full.rpartition(".")[0]


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 512
