"""The table of subcommands: what `goalpost --help` lists, by audience, and where each is to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One subcommand: ``target`` is ``module:attribute``, a click command or a plain function without arguments."""

    name: str
    target: str
    summary: str
    audience: str = "Commands"


COMMANDS: Final = (
    Entry(
        audience="Try it",
        name="demo",
        target="sandbox.commands:demo",
        summary="Show the whole journey of events on an embedded stack.",
    ),
    Entry(
        audience="Try it",
        name="up",
        target="sandbox.commands:up",
        summary="Run the stack and every service until Ctrl-C; restart what dies.",
    ),
    Entry(audience="Try it", name="down", target="sandbox.commands:down", summary="End what `goalpost up` started."),
    Entry(
        audience="Try it",
        name="sandbox",
        target="sandbox.commands:sandbox",
        summary="Start parts of the stack by hand: Kafka, registry, Postgres, Metrika simulator.",
    ),
    Entry(
        audience="Run (one process each)",
        name="webhook",
        target="producers.__main__:main",
        summary="Take conversions and sessions over HTTP into Kafka.",
    ),
    Entry(
        audience="Run (one process each)",
        name="stream",
        target="streams.__main__:main",
        summary="Join conversions with web sessions.",
    ),
    Entry(
        audience="Run (one process each)",
        name="sink",
        target="goalpost.cli:sink",
        summary="Store conversions in Postgres; upload them to Metrika.",
    ),
    Entry(
        audience="Run (one process each)",
        name="fetch",
        target="goalpost.cli:fetch",
        summary="Read what a CRM's webhook only points at: deals of Bitrix24.",
    ),
    Entry(
        audience="Run (one process each)",
        name="sessions",
        target="goalpost.sessions.commands:sessions",
        summary="Bring the sessions of an existing user_analytics: once (backfill), or for good (follow).",
    ),
    Entry(
        audience="Set up",
        name="topics",
        target="goalpost.topics.commands:topics",
        summary="Create Kafka topics and register their schemas; check them.",
    ),
    Entry(
        audience="Set up",
        name="migrate",
        target="sinks.postgres.migrate:main",
        summary="Bring the Postgres tables up to date.",
    ),
    Entry(
        audience="Set up",
        name="admin",
        target="goalpost.admin.commands:admin",
        summary="Add and list Yandex accounts, counters, webhooks and keys.",
    ),
    Entry(
        audience="Look",
        name="doctor",
        target="goalpost.doctor.commands:doctor",
        summary="Check every dependency and setting; say what to do.",
    ),
    Entry(
        audience="Look",
        name="trace",
        target="goalpost.lineage.commands:trace",
        summary="Show the whole way of an event, an order or an upload.",
    ),
    Entry(
        audience="Look",
        name="ledger",
        target="goalpost.balance.commands:ledger",
        summary="Balance what was received against where it is; name what is nowhere.",
    ),
    Entry(
        audience="Repair",
        name="dlq",
        target="goalpost.dead_letters.commands:dlq",
        summary="Count, read and replay dead letters.",
    ),
    Entry(
        audience="Repair",
        name="quarantine",
        target="goalpost.quarantine.commands:quarantine",
        summary="Check requests again that came with a wrong secret.",
    ),
    Entry(
        audience="Keep and forget",
        name="retention",
        target="goalpost.retention.commands:retention",
        summary="Remove what is too old, in small batches; a dry run first.",
    ),
    Entry(
        audience="Keep and forget",
        name="erase",
        target="goalpost.retention.erase:erase",
        summary="Erase one visitor; report what cannot be, and until when.",
    ),
)

SINKS: Final = (
    Entry(
        name="postgres",
        target="sinks.postgres.__main__:main",
        summary="crm.conversions to webhook_conversions and user_analytics.",
    ),
    Entry(
        name="metrika",
        target="sinks.metrika.__main__:main",
        summary="Stored conversions to Yandex Metrika, and what became of them to crm.conversions.outcomes.",
    ),
)

FETCHERS: Final = (
    Entry(
        name="bitrix24",
        target="producers.fetching.__main__:main",
        summary="Deals that Bitrix24's outgoing webhooks name, to crm.events.raw.",
    ),
)
