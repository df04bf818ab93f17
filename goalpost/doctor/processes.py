"""Whether the processes themselves say that they are ready, at the addresses of their health pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from dotenv import dotenv_values

from goalpost.findings import Finding, bad, good, noted

# HEALTH_STREAM=http://10.0.0.5:8081 says where a process answers; `make up` writes such lines into its env file.
PREFIX: Final = "HEALTH_"
_CHECK: Final = "processes"
_SECONDS: Final = 3.0
_LARGEST_PAGE_BYTES: Final = 64 * 1024
_ANYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - what a process is told to listen on


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a process answers; ``told`` where somebody said so, and not only its default."""

    name: str
    url: str
    told: bool


def addresses(environ: Mapping[str, str], env_file: Path, *, host: str, ports: Mapping[str, int]) -> list[Address]:
    """Return whom to ask: whatever HEALTH_* names, in ``environ`` or in the file of `make up`; else the defaults.

    ``host`` and ``ports`` (by name of the process) are where processes of these settings would listen.
    """
    told = _named(environ) or _named(_written(env_file))
    if told:
        return [Address(name=name, url=url.rstrip("/"), told=True) for name, url in sorted(told.items())]
    local = "127.0.0.1" if host in _ANYWHERE else host
    return [Address(name=name, url=f"http://{local}:{port}", told=False) for name, port in ports.items() if port]


def _named(lines: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PREFIX).lower(): url for name, url in lines.items() if name.startswith(PREFIX) and url}


def _written(env_file: Path) -> dict[str, str]:
    if not env_file.is_file():
        return {}
    return {name: value for name, value in dotenv_values(env_file, interpolate=False).items() if value}


def processes(wanted: Iterable[Address]) -> Iterator[Finding]:
    """Each process: ready, or what it waits for; all are asked at once."""
    asked = list(wanted)
    with ThreadPoolExecutor(max(len(asked), 1)) as pool:
        yield from pool.map(_asked, asked)


def _asked(address: Address) -> Finding:
    page = f"{address.url}/readyz"
    try:
        status, content = _page(page)
    except requests.RequestException as exc:
        return _silent(address, page, type(exc).__name__)
    waiting = content.get("waiting_for")
    if status == 200 and content.get("status") == "ready":
        return good(_CHECK, f"{address.name} is ready ({page})")
    if isinstance(waiting, dict) and waiting:
        reasons = "; ".join(f"{part}: {why}" for part, why in waiting.items())
        return bad(_CHECK, f"{address.name} waits for {reasons}", "Mend that; the process goes on by itself.")
    remedy = f"Check the port, or set {PREFIX}{address.name.upper()} to the base address of its health pages."
    return bad(_CHECK, f"{page} is no health page of goalpost (HTTP {status})", remedy)


def _page(url: str) -> tuple[int, dict[str, Any]]:
    with requests.get(url, timeout=_SECONDS, allow_redirects=False, stream=True) as answer:
        body = answer.raw.read(_LARGEST_PAGE_BYTES, decode_content=True)
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        return answer.status_code, content if isinstance(content, dict) else {}


def _silent(address: Address, page: str, why: str) -> Finding:
    setting = f"{PREFIX}{address.name.upper()}"
    if address.told:
        return bad(_CHECK, f"{address.name} does not answer at {page} ({why})", f"Start it, or correct {setting}.")
    detail = f"nobody answers for {address.name} at {page}"
    return noted(_CHECK, detail, f"If it runs elsewhere, set {setting} to the base address of its health pages.")
