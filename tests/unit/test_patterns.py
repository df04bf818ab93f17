"""No regular expression of ours costs more than in proportion to what strangers send: each one is found and measured.

A pattern is measured by the methods that our code calls on it, so that one which is only ever matched as a whole need
not be safe to search with.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, AnyStr, Final

import pytest

PACKAGES: Final = ("producers", "streams", "sinks", "schemas", "runtime", "goalpost")
FOLDER: Final = Path(__file__).parents[2]

SIZES: Final = (16_384, 65_536, 262_144)
# A character may cost so many times as much as one that a plain pattern replaces: bounded repetitions do. What grows
# with the square of the text costs thousands of times as much, and shows at the smallest size.
COST: Final = 60.0
ATTEMPTS: Final = 3
COSTLIEST: Final = 5

FILLERS: Final = (
    *(" ", "\t", "\n", "\r\n", "0", "1", "7.", "a", "Я", "%", "%20", "=", ";", "a=", "=;", "&", "&#8381;", "-", "_"),
    *('"', "'", "\\", "[", "]", "[]", "[a]", "(", "()", "{", "<", "|", ".", ",", ":", "/", "@", "a@", "\u200b", "e-1"),
    *('name= ', "name=event_token\r\n", "cookies", "\\u0000", "12:30 ", "2026-01-01 ", "a1", " bytes", "+1 ("),
)  # fmt: skip
AROUND: Final = (("", ""), ("", "x"), ("2026", "x"), ('a"[', "\x00"), ("name=", "x"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A pattern and where it stands."""

    module: str
    name: str
    pattern: re.Pattern[Any]

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def _modules() -> Iterator[Any]:
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(FOLDER / package)], f"{package}."):
            if not module.name.endswith("__main__"):  # composition roots hold nothing of their own, and may run
                yield importlib.import_module(module.name)


def _patterns_in(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _patterns_in(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _patterns_in(inner)


@cache
def found() -> tuple[Found, ...]:
    """Every compiled pattern that a module of ours has, once."""
    known: dict[int, Found] = {}
    for module in _modules():
        for name, value in vars(module).items():
            for pattern in _patterns_in(value):
                known.setdefault(id(pattern), Found(module=module.__name__, name=name, pattern=pattern))
    return tuple(known.values())


def _sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((FOLDER / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


@cache
def _methods() -> dict[str, frozenset[str]]:
    """Which methods are called on each name, wherever; names of patterns are rarely the same in two modules."""
    called: defaultdict[str, set[str]] = defaultdict(set)
    for _, tree in _sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called[node.value.id].add(node.attr)
    return {name: frozenset(methods) for name, methods in called.items()}


def _calls(pattern: re.Pattern[AnyStr], methods: Iterable[str]) -> list[Callable[[AnyStr], object]]:
    """What our code does with a pattern; where that cannot be seen, everything."""
    every: dict[str, Callable[[AnyStr], object]] = {
        "match": pattern.match,
        "fullmatch": pattern.fullmatch,
        "search": pattern.search,
        "findall": pattern.findall,
        "finditer": lambda text: deque(pattern.finditer(text), maxlen=0),
        "split": pattern.split,
        "sub": lambda text: pattern.sub(text[:0], text),
        "subn": lambda text: pattern.subn(text[:0], text),
    }
    used = [every[name] for name in methods if name in every]
    return used or list(every.values())


def _cost(call: Callable[[Any], object], text: str | bytes) -> float:
    """Processor seconds for one character; not those of other programs."""
    began = time.thread_time()
    call(text)
    return (time.thread_time() - began) / len(text)


@cache
def _limit() -> float:
    plain = re.compile(".")
    costs = (_cost(lambda text: plain.sub("", text), "a" * SIZES[0]) for _ in range(ATTEMPTS))
    return COST * min(costs)


def _made(parts: tuple[str, str, str], size: int, *, binary: bool) -> str | bytes:
    beginning, filler, end = parts
    text = beginning + filler * (size // len(filler)) + end
    return text.encode() if binary else text


def worst_of(pattern: re.Pattern[Any], methods: Iterable[str] = ()) -> str | None:
    """Return a text, as how it is made, for which the pattern takes too long.

    All are tried at the smallest size; those that cost most there are tried at the others.
    """
    binary = isinstance(pattern.pattern, bytes)
    for call in _calls(pattern, methods):
        candidates = [(beginning, filler, end) for filler, (beginning, end) in product(FILLERS, AROUND)]
        for size in SIZES:
            costs = {}
            for parts in candidates:
                text = _made(parts, size, binary=binary)
                costs[parts] = _cost(call, text)
                if costs[parts] > _limit() and min(_cost(call, text) for _ in range(ATTEMPTS)) > _limit():
                    return "{!r} + {!r} * n + {!r}".format(*parts)
            candidates = sorted(candidates, key=costs.__getitem__, reverse=True)[:COSTLIEST]
    return None


def test_the_patterns_of_every_folder_are_found() -> None:
    folders = {one.module.partition(".")[0] for one in found()}
    assert {"producers", "sinks", "schemas", "goalpost"} <= folders
    assert len(found()) > 40


@pytest.mark.parametrize("one", found(), ids=str)
def test_no_pattern_costs_more_than_in_proportion_to_its_text(one: Found) -> None:
    assert (worst := worst_of(one.pattern, _methods().get(one.name, ()))) is None, (
        f"{one} takes more than in proportion to the length of {worst}; bound its repetitions, make them possessive, "
        "or do without a pattern"
    )


@pytest.mark.parametrize(
    ("pattern", "method"),
    [(r"[0-9]+(?=Z\Z)", "sub"), (r"\S+@\S+", "search")],
)
def test_a_pattern_whose_time_grows_with_the_square_is_noticed(pattern: str, method: str) -> None:
    assert worst_of(re.compile(pattern), [method]) is not None


_MAKING: Final = frozenset(
    f"re.{name}" for name in ("compile", "match", "fullmatch", "search", "findall", "finditer", "split", "sub", "subn")
)


def test_patterns_are_compiled_where_this_test_finds_them() -> None:
    """In functions they would be neither found nor measured."""
    hidden = []
    for path, tree in _sources():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            hidden += [
                f"{path.relative_to(FOLDER)}:{node.lineno}"
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and ast.unparse(node.func) in _MAKING
            ]
    assert hidden == []
