"""``goalpost admin webhook``: written to Postgres first, then told to Kafka; ``publish`` repeats the telling."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, Final

import click

from goalpost.admin.registration import Connection
from goalpost.admin.session import database, rows, the_one, vault
from goalpost.console import json_option, show, show_rows
from goalpost.webhooks.access import HIDDEN, access, access_lines, settings, settings_lines
from goalpost.webhooks.options import (
    accepted_option,
    currency_option,
    fetch_option,
    fetch_url_given,
    fields_option,
    goal_option,
    on_change_option,
    orders_option,
    rules_option,
    secret_given,
    secret_option,
    session_wait_option,
    signature_option,
    timezone_option,
)
from goalpost.webhooks.publishing import publish
from goalpost.webhooks.registration import (
    WebhookPlan,
    counter_time_zone,
    ensure_webhook,
    plan_of,
    remove_webhook,
    webhooks,
)
from goalpost.webhooks.rules import with_fields, with_rules
from goalpost.webhooks.telling import Told, teller
from producers.dialects import DIALECTS
from runtime.sections import KafkaSettings, TimeSettings
from runtime.settings import load
from schemas.events import GoalRule

_WEBHOOKS: Final = """
SELECT webhook.id::text, webhook.name, webhook.dialect, counter.counter_id, webhook.default_goal,
       webhook.default_currency, jsonb_array_length(webhook.rules) AS rules,
       (SELECT count(*) FROM jsonb_object_keys(webhook.fields)) AS fields, webhook.max_requests_per_second,
       webhook.uploads_orders, webhook.url, webhook.changed_at
FROM offline_webhooks AS webhook JOIN metrika_counters AS counter ON counter.id = webhook.counter_id
WHERE webhook.removed_at IS NULL ORDER BY webhook.created_at, webhook.id
"""
_COUNTERS: Final = "SELECT id::text, counter_id, name FROM metrika_counters ORDER BY created_at, id"


@click.group()
def webhook() -> None:
    """Addresses that CRMs send conversions to."""


@webhook.command("add")
@click.option("--counter", "wanted", help="Metrika's number, name or id; not needed where there is only one.")
@click.option("--name", required=True, help="What people call it.")
@click.option("--dialect", default="generic", type=click.Choice(list(DIALECTS)), show_default=True, help="Who sends.")
@secret_option
@goal_option("crm_conversion")
@currency_option
@rules_option
@fields_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Requests per second; more are answered 429, or wait where a CRM must not be refused.",
)
@orders_option
@fetch_option
@signature_option
@timezone_option
@on_change_option
@session_wait_option
@click.option("--base-url", envvar="WEBHOOK_URL", default="http://127.0.0.1:8080", show_default=True)
@json_option
def webhook_add(
    *,
    wanted: str | None,
    name: str,
    dialect: str,
    secret: str | None,
    default_goal: str,
    currency: str | None,
    rules: tuple[GoalRule, ...],
    fields: tuple[tuple[str, str], ...],
    limit: int | None,
    orders: bool | None,
    fetch_url: str | None,
    signature: str | None,
    timezone: str | None,
    on_change: str | None,
    session_wait: str | None,
    base_url: str,
    as_json: bool,
) -> None:
    """Add a webhook and print its addresses, its secret this once, and what to click in the CRM."""
    tell = teller()
    clear, fetch_from, sealing, webhook_id = secret_given(secret), fetch_url_given(fetch_url), vault(), uuid.uuid4()
    with database() as connection:
        if any(row["name"] == name for row in rows(connection, _WEBHOOKS)):
            raise click.ClickException(f"There is a webhook {name!r} already. Choose another name, or remove that one.")
        counter = the_one("counter", rows(connection, _COUNTERS), wanted, by=("id", "counter_id", "name"))
        plan = WebhookPlan(
            webhook_id=webhook_id,
            counter=uuid.UUID(counter["id"]),
            name=name,
            dialect=dialect,
            secret=clear,
            url=f"{base_url.rstrip('/')}/hooks/{webhook_id}",
            default_goal=default_goal,
            default_currency=currency,
            rules=rules,
            fields=with_fields({}, fields),
            max_requests_per_second=limit,
            uploads_orders=orders or False,
            fetch_url=fetch_from,
            signature=signature or "standard",
            timezone=timezone or None,
            on_change=on_change or "ignore",
            session_wait=session_wait or "short",
        )
        configuration = ensure_webhook(connection, sealing, plan)
    _show_access(plan, counter["counter_id"], tell([configuration], []), as_json=as_json)


@webhook.command("change")
@click.argument("wanted", metavar="WEBHOOK")
@goal_option(None)
@currency_option
@rules_option
@click.option("--drop-rule", "dropped", multiple=True, metavar="STAGE", help="Forget the rule of a stage.")
@fields_option
@click.option("--limit", type=click.IntRange(0), help="Requests per second; 0 for the service's own limit.")
@orders_option
@fetch_option
@signature_option
@timezone_option
@on_change_option
@session_wait_option
@accepted_option
@json_option
def webhook_change(
    *,
    wanted: str,
    default_goal: str | None,
    currency: str | None,
    rules: tuple[GoalRule, ...],
    dropped: tuple[str, ...],
    fields: tuple[tuple[str, str], ...],
    limit: int | None,
    orders: bool | None,
    fetch_url: str | None,
    signature: str | None,
    timezone: str | None,
    on_change: str | None,
    session_wait: str | None,
    accepted: str | None,
    as_json: bool,
) -> None:
    """Change a webhook (by name or id): what is said is added or replaced, everything else stays.

    --field NAME= goes back to the usual places of that field. What came before the change stays as it was understood
    then; `goalpost dlq replay` reads kept bodies anew.
    """
    tell = teller()
    fetch_from, sealing = fetch_url_given(fetch_url), vault()
    more_secrets = () if accepted is None else (secret_given(accepted),)
    with database() as connection:
        found = _named(connection, wanted)
        before = plan_of(connection, sealing, uuid.UUID(found["id"]))
        plan = replace(
            before,
            previous_secrets=(*before.previous_secrets, *more_secrets),
            default_goal=default_goal or before.default_goal,
            default_currency=currency or before.default_currency,
            rules=with_rules(before.rules, rules, dropped),
            fields=with_fields(before.fields, fields),
            max_requests_per_second=before.max_requests_per_second if limit is None else limit or None,
            uploads_orders=before.uploads_orders if orders is None else orders,
            fetch_url=fetch_from or before.fetch_url,
            signature=signature or before.signature,
            timezone=before.timezone if timezone is None else timezone or None,
            on_change=on_change or before.on_change,
            session_wait=session_wait or before.session_wait,
        )
        configuration = ensure_webhook(connection, sealing, plan)
        stands = _settings(connection, plan)
    told = tell([configuration], [])
    content = {"webhook_id": found["id"], "name": plan.name, "dialect": plan.dialect, **stands, **told.fields}
    lines = [f"Webhook {plan.name} ({plan.dialect}) now:", *settings_lines(stands), *told.lines]
    show(content, lines, as_json=as_json)
    told.end()


@webhook.command("rotate")
@click.argument("wanted", metavar="WEBHOOK")
@secret_option
@click.option("--drop-previous", is_flag=True, help="Refuse the former secrets from now on.")
@json_option
def webhook_rotate(wanted: str, secret: str | None, drop_previous: bool, as_json: bool) -> None:
    """Give a webhook (by name or id) a new secret; the former ones go on working unless --drop-previous is said."""
    tell = teller()
    clear, sealing = secret_given(secret), vault()
    with database() as connection:
        found = _named(connection, wanted)
        before = plan_of(connection, sealing, uuid.UUID(found["id"]))
        former = () if drop_previous else (before.secret, *before.previous_secrets)
        plan = replace(before, secret=clear, previous_secrets=former)
        configuration = ensure_webhook(connection, sealing, plan)
    _show_access(plan, found["counter_id"], tell([configuration], []), as_json=as_json)


@webhook.command("list")
@json_option
def webhook_list(as_json: bool) -> None:
    """List webhooks, without their secrets."""
    with database() as connection:
        found = rows(connection, _WEBHOOKS)
    show_rows(
        "webhooks", found, as_json=as_json, hint="There is no webhook. Add one with `goalpost admin webhook add`."
    )


@webhook.command("show")
@click.argument("wanted", metavar="WEBHOOK")
@json_option
def webhook_show(wanted: str, as_json: bool) -> None:
    """Show a webhook (by name or id): its settings, addresses and what to click, with SECRET for the secret."""
    with database() as connection:
        found = _named(connection, wanted)
        plan = plan_of(connection, vault(), uuid.UUID(found["id"]))
        told = _settings(connection, plan)
    shown = access(plan, counter=found["counter_id"], secret=HIDDEN)
    lines = [*access_lines(shown), "", "Settings:", *settings_lines(told)]
    show({**shown, "counter_id": found["counter_id"], **told}, lines, as_json=as_json)


@webhook.command("remove")
@click.argument("wanted", metavar="WEBHOOK")
@json_option
def webhook_remove(wanted: str, as_json: bool) -> None:
    """Remove a webhook by name or id: its senders get 404. Its conversions stay, and are still uploaded."""
    tell = teller()
    with database() as connection:
        found = _named(connection, wanted)
        remove_webhook(connection, uuid.UUID(found["id"]))
    told = tell([], [found["id"]])
    show(
        {"webhook_id": found["id"], **told.fields}, [f"Webhook {found['name']} removed.", *told.lines], as_json=as_json
    )
    told.end()


@webhook.command("publish")
@json_option
def webhook_publish(as_json: bool) -> None:
    """Tell Kafka every webhook as Postgres has it. Harmless to repeat; repairs an incomplete goalpost.webhooks."""
    sealing = vault()
    with database() as connection:
        configurations, removed = webhooks(connection, sealing)
    (kafka,) = load(KafkaSettings)
    publish(kafka.bootstrap_servers, kafka.schema_registry_url, configurations, removed)
    content = {"published": len(configurations), "removed": len(removed)}
    show(content, [f"{len(configurations)} webhooks published, {len(removed)} removed ones."], as_json=as_json)


def _settings(connection: Connection, plan: WebhookPlan) -> dict[str, Any]:
    (times,) = load(TimeSettings)
    return settings(plan, counter_zone=counter_time_zone(connection, plan.counter), default_zone=times.timezone)


def _named(connection: Connection, wanted: str) -> dict[str, Any]:
    return the_one("webhook", rows(connection, _WEBHOOKS), wanted, by=("id", "name"))


def _show_access(plan: WebhookPlan, counter: int, told: Told, *, as_json: bool) -> None:
    """Print everything a sender needs; the secret is not shown again."""
    shown = access(plan, counter=counter, secret=plan.secret)
    kept = f"  Secret           {plan.secret}   (keep it: it is not shown again)"
    lines = access_lines(shown)
    show({**shown, **told.fields}, [*lines[:6], kept, *lines[6:], *told.lines], as_json=as_json)
    told.end()
