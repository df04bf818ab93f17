"""``goalpost doctor``: check every setting and dependency, and say what to do about each failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from goalpost.console import json_option, output, print_json, progress_output
from goalpost.doctor import diagnosis
from goalpost.doctor.groups import lag, letters
from goalpost.doctor.pooler import pooler
from goalpost.doctor.processes import addresses, processes
from goalpost.doctor.replicas import replicas
from goalpost.findings import Finding, Verdict, bad, examined, good
from goalpost.sessions import diagnosis as session_diagnosis
from runtime.sections import (
    SECTIONS,
    DatabaseSettings,
    KafkaSettings,
    MetrikaSettings,
    PostgresSinkSettings,
    Section,
    StreamSettings,
    VaultSettings,
    WebhookSettings,
)
from runtime.settings import BadSettings, load
from schemas.records import whole_number

_MARKS: Final = {Verdict.GOOD: "ok", Verdict.NOTE: "note", Verdict.BAD: "BAD", Verdict.SKIPPED: "-"}
_WELL: Final = frozenset({Verdict.GOOD, Verdict.NOTE})
# What has to be good before anything is read from the tables.
_TABLES: Final = ("postgres", "migrations")
_READABLE: Final = ("kafka", "topics")
# Where each process has its health pages, unless it is told otherwise.
_PROCESSES: Final[dict[str, type[Section]]] = {
    "webhook": WebhookSettings,
    "stream": StreamSettings,
    "sink_postgres": PostgresSinkSettings,
    "sink_metrika": MetrikaSettings,
}
_RUNNING: Final = "Start it, or correct {}."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """A check, the settings without which it cannot be made, and the check that must be good before."""

    name: str
    look: Callable[..., Iterator[Finding]]
    needs: tuple[type[Section], ...]
    after: tuple[str, ...] = ()
    setting: str


def _checks() -> tuple[_Check, ...]:
    return (
        _Check(name="kafka", look=diagnosis.kafka, needs=(KafkaSettings,), setting="KAFKA_BOOTSTRAP_SERVERS"),
        _Check(
            name="topics",
            look=diagnosis.kafka_topics,
            needs=(KafkaSettings,),
            after=("kafka",),
            setting="KAFKA_BOOTSTRAP_SERVERS",
        ),
        _Check(
            name="replicas",
            look=replicas,
            needs=(KafkaSettings,),
            after=("kafka", "topics"),
            setting="KAFKA_BOOTSTRAP_SERVERS",
        ),
        _Check(name="registry", look=diagnosis.schema_registry, needs=(KafkaSettings,), setting="SCHEMA_REGISTRY_URL"),
        _Check(
            name="postgres", look=_on_database(diagnosis.postgres), needs=(DatabaseSettings,), setting="DATABASE_URL"
        ),
        _Check(
            name="pooler",
            look=_on_database(pooler),
            needs=(DatabaseSettings,),
            after=("postgres",),
            setting="DATABASE_URL",
        ),
        _Check(
            name="secrets",
            look=lambda database, vault: diagnosis.secrets(_url(database), vault.secret_key.get_secret_value()),
            needs=(DatabaseSettings, VaultSettings),
            after=_TABLES,
            setting="GOALPOST_SECRET_KEY",
        ),
        _in_tables("accounts", diagnosis.accounts),
        _Check(
            name="webhooks",
            look=lambda kafka, database: diagnosis.webhooks(kafka, _url(database)),
            needs=(KafkaSettings, DatabaseSettings),
            after=("kafka", "topics", "registry", *_TABLES),
            setting="KAFKA_BOOTSTRAP_SERVERS",
        ),
        _in_tables("sessions", session_diagnosis.following),
        _in_tables("indexes", session_diagnosis.indexes),
        _Check(name="metrika", look=diagnosis.metrika, needs=(MetrikaSettings,), setting="METRIKA_API_URL"),
        _Check(name="processes", look=_processes, needs=(), setting="HEALTH_*"),
        _Check(name="lag", look=lag, needs=(KafkaSettings,), after=_READABLE, setting="KAFKA_BOOTSTRAP_SERVERS"),
        _Check(
            name="letters", look=letters, needs=(KafkaSettings,), after=_READABLE, setting="KAFKA_BOOTSTRAP_SERVERS"
        ),
    )


def _in_tables(name: str, look: Callable[[str], Iterator[Finding]]) -> _Check:
    return _Check(name=name, look=_on_database(look), needs=(DatabaseSettings,), after=_TABLES, setting="DATABASE_URL")


def _processes() -> Iterator[Finding]:
    ports = {name: port for name, section in _PROCESSES.items() if (port := _health_port(section)) is not None}
    home = Path(os.environ.get("GOALPOST_HOME") or ".goalpost")
    host = os.environ.get("GOALPOST_HEALTH_HOST") or "127.0.0.1"
    return processes(addresses(os.environ, home / "env", host=host, ports=ports))


def _health_port(section: type[Section]) -> int | None:
    """Return where a process of this environment has its health pages; ``None`` where the setting is no port."""
    field = section.model_fields.get("health_port") or section.model_fields["port"]
    port = os.environ.get(str(field.validation_alias)) or str(field.default)
    return whole_number(port)


def _url(database: DatabaseSettings) -> str:
    return str(database.database_url.get_secret_value())


def _on_database(look: Callable[[str], Iterator[Finding]]) -> Callable[[DatabaseSettings], Iterator[Finding]]:
    return lambda database: look(_url(database))


def examine(report: Callable[[str], None] = lambda _name: None) -> list[Finding]:
    """Make every check that can be made and return the findings; ``report`` hears which one is being made."""
    findings, loaded = _settings()
    for check in _checks():
        report(check.name)
        broken = {finding.check for finding in findings if finding.verdict not in _WELL}
        waits_for = [name for name in check.after if name in broken]
        if waits_for or any(section not in loaded for section in check.needs):
            reason = f"after {', '.join(waits_for)}" if waits_for else "after the settings"
            findings.append(Finding(check=check.name, verdict=Verdict.SKIPPED, detail=f"will be checked {reason}"))
            continue
        look = partial(check.look, *(loaded[section] for section in check.needs))
        findings += examined(check.name, look, remedy=_RUNNING.format(check.setting))
    return findings


def _settings() -> tuple[list[Finding], dict[type[Section], Any]]:
    findings: list[Finding] = []
    loaded: dict[type[Section], Any] = {}
    problems: dict[str, None] = {}
    for section in SECTIONS:
        try:
            (loaded[section],) = load(section)
        except BadSettings as exc:
            problems.update(dict.fromkeys(exc.problems))
    findings += [bad("settings", problem, ".env.example describes it.") for problem in problems]
    if not problems:
        findings.append(good("settings", "complete"))
    return findings, loaded


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check settings, Kafka, topics, copies, schemas, Postgres, the way to it, secrets, accounts, webhooks, sessions,
    indexes and Metrika; ask the processes whether they are ready; look at lag and dead letters.

    Only reads, and each check has a minute at most. Says what to do about each failure; exits with 1 if there is one.
    Processes are asked at the addresses in HEALTH_STREAM, HEALTH_WEBHOOK, ... (`make up` writes them to .goalpost/env),
    else where they listen by default.
    """
    with progress_output().status("checking") as status:
        findings = examine(lambda name: status.update(f"checking {name}"))
    healthy = all(finding.verdict in _WELL for finding in findings)
    if as_json:
        print_json({"ok": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings, healthy)
    if not healthy:
        raise SystemExit(1)


def _print(findings: list[Finding], healthy: bool) -> None:
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(_MARKS[finding.verdict], finding.check, finding.detail)
        if finding.remedy:
            table.add_row("", "", f"-> {finding.remedy}")
    console = output()
    console.print(table)
    console.print("All is well." if healthy else "Mend the first BAD line first; the others may follow from it.")
