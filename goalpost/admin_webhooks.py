"""``goalpost admin webhook``: written to Postgres first, then told to Kafka; ``publish`` repeats the telling."""

from __future__ import annotations

import secrets
import shlex
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import click

from goalpost.admin_output import json_option, show, show_rows
from goalpost.admin_rules import BadRule, parse_currency, parse_goal, parse_rule
from goalpost.admin_session import database, rows, secret_from, the_one, vault
from goalpost.webhook_publishing import publish
from goalpost.webhook_registration import WebhookPlan, ensure_webhook, plan_of, remove_webhook, webhooks
from producers.dialects import DIALECTS
from runtime.failures import Fatal, Transient
from runtime.sections import KafkaSettings
from runtime.settings import load
from schemas.events import Webhook

T = TypeVar("T")

# Hexadecimal: the same characters serve as a header, as part of an address, and as base64 of Standard Webhooks.
_SECRET_BYTES: Final = 24
# A webhook's secret stands alone between the world and the counter; a guess must be hopeless.
_SHORTEST_SECRET: Final = 16

_WEBHOOKS: Final = """
SELECT webhook.id::text, webhook.name, webhook.dialect, counter.counter_id, webhook.default_goal,
       webhook.default_currency, jsonb_array_length(webhook.rules) AS rules, webhook.url, webhook.changed_at
FROM offline_webhooks AS webhook JOIN metrika_counters AS counter ON counter.id = webhook.counter_id
WHERE webhook.removed_at IS NULL ORDER BY webhook.created_at, webhook.id
"""
_COUNTERS: Final = "SELECT id::text, counter_id, name FROM metrika_counters ORDER BY created_at, id"


@click.group()
def webhook() -> None:
    """Addresses that CRMs send conversions to."""


def _checked(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    def callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else parse(value)
        except BadRule as exc:
            raise click.BadParameter(str(exc)) from exc

    return callback


def _rules(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> tuple[Any, ...]:
    try:
        return tuple(parse_rule(value) for value in values)
    except BadRule as exc:
        raise click.BadParameter(str(exc)) from exc


@webhook.command("add")
@click.option("--counter", "wanted", help="Metrika's number, name or id; not needed where there is only one.")
@click.option("--name", required=True, help="What people call it.")
@click.option("--dialect", default="generic", type=click.Choice(list(DIALECTS)), show_default=True, help="Who sends.")
@click.option("--secret", help="At least 16 characters, - to type or pipe it; one is made if absent.")
@click.option("--default-goal", default="crm_conversion", callback=_checked(parse_goal), show_default=True)
@click.option("--currency", callback=_checked(parse_currency), help="Where neither event nor rule names one.")
@click.option("--rule", "rules", multiple=True, callback=_rules, metavar="STAGE=goal[:value[:currency]]")
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
    rules: tuple[Any, ...],
    base_url: str,
    as_json: bool,
) -> None:
    """Add a webhook and print its addresses, and its secret this once."""
    tell = _teller()
    clear, sealing, webhook_id = _secret(secret), vault(), uuid.uuid4()
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
        )
        configuration = ensure_webhook(connection, sealing, plan)
    _show_access(plan, tell([configuration], []), as_json=as_json)


@webhook.command("rotate")
@click.argument("wanted", metavar="WEBHOOK")
@click.option("--secret", help="At least 16 characters, - to type or pipe it; one is made if absent.")
@click.option("--drop-previous", is_flag=True, help="Refuse the former secrets from now on.")
@json_option
def webhook_rotate(wanted: str, secret: str | None, drop_previous: bool, as_json: bool) -> None:
    """Give a webhook (by name or id) a new secret; the former ones go on working unless --drop-previous is said."""
    tell = _teller()
    clear, sealing = _secret(secret), vault()
    with database() as connection:
        found = the_one("webhook", rows(connection, _WEBHOOKS), wanted, by=("id", "name"))
        before = plan_of(connection, sealing, uuid.UUID(found["id"]))
        former = () if drop_previous else (before.secret, *before.previous_secrets)
        plan = replace(before, secret=clear, previous_secrets=former)
        configuration = ensure_webhook(connection, sealing, plan)
    _show_access(plan, tell([configuration], []), as_json=as_json)


@webhook.command("list")
@json_option
def webhook_list(as_json: bool) -> None:
    """List webhooks, without their secrets."""
    with database() as connection:
        found = rows(connection, _WEBHOOKS)
    show_rows(
        "webhooks", found, as_json=as_json, hint="There is no webhook. Add one with `goalpost admin webhook add`."
    )


@webhook.command("remove")
@click.argument("wanted", metavar="WEBHOOK")
@json_option
def webhook_remove(wanted: str, as_json: bool) -> None:
    """Remove a webhook by name or id: its senders get 404. Its conversions stay, and are still uploaded."""
    tell = _teller()
    with database() as connection:
        found = the_one("webhook", rows(connection, _WEBHOOKS), wanted, by=("id", "name"))
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
    (settings,) = load(KafkaSettings)
    publish(settings.bootstrap_servers, settings.schema_registry_url, configurations, removed)
    content = {"published": len(configurations), "removed": len(removed)}
    show(content, [f"{len(configurations)} webhooks published, {len(removed)} removed ones."], as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """Whether Kafka knows; ``problem`` says why not."""

    problem: str | None

    @property
    def fields(self) -> dict[str, Any]:
        return {"published": self.problem is None, "problem": self.problem}

    @property
    def lines(self) -> list[str]:
        if self.problem is None:
            return []
        return [f"Kafka does not know it yet: {self.problem}", "When that is put right: goalpost admin webhook publish"]

    def end(self) -> None:
        """Leave with 1 if a person has something left to do."""
        if self.problem is not None:
            raise SystemExit(1)


def _teller() -> Callable[[Sequence[Webhook], Sequence[str]], _Told]:
    """Read the settings now: a command that cannot know where Kafka is must not have written anything."""
    (settings,) = load(KafkaSettings)

    def tell(configurations: Sequence[Webhook], removed: Sequence[str]) -> _Told:
        try:
            publish(settings.bootstrap_servers, settings.schema_registry_url, configurations, removed)
        except (Fatal, Transient) as exc:
            return _Told(problem=str(exc))
        return _Told(problem=None)

    return tell


def _secret(given: str | None) -> str:
    if given is None:
        return secrets.token_hex(_SECRET_BYTES)
    secret = secret_from(given, "secret")
    if len(secret) < _SHORTEST_SECRET:
        raise click.ClickException(
            f"The secret is shorter than {_SHORTEST_SECRET} characters. Omit --secret to get one."
        )
    return secret


def _show_access(plan: WebhookPlan, told: _Told, *, as_json: bool) -> None:
    """Print everything a sender needs; the secret is not shown again."""
    with_token = f"{plan.url}/{plan.secret}"
    drop_in = f"{plan.url.partition('/hooks/')[0]}/functions/v1/crm-conversion-hook"
    header = f"Authorization: Bearer {plan.secret}"
    body = '{"session_id": "...", "goal_name": "payment_success", "goal_value": 5000}'
    curl = (
        f"curl -X POST {shlex.quote(plan.url)} -H {shlex.quote(header)} -H 'Content-Type: application/json' -d '{body}'"
    )
    content = {
        "webhook_id": str(plan.webhook_id),
        "name": plan.name,
        "dialect": plan.dialect,
        "url": plan.url,
        "url_with_token": with_token,
        "drop_in_url": drop_in,
        "headers": {"Authorization": f"Bearer {plan.secret}"},
        "secret": plan.secret,
        "curl": curl,
        **told.fields,
    }
    lines = [
        f"Webhook {plan.name}: {plan.webhook_id}",
        "",
        f"  Address          {plan.url}",
        f"  with this header {header}",
        f"  or without one   {with_token}",
        f"  in place of Supabase's function, with the header: {drop_in}",
        f"  Secret           {plan.secret}   (keep it: it is not shown again)",
        "",
        "Try it:",
        f"  {curl}",
        *told.lines,
    ]
    show(content, lines, as_json=as_json)
    told.end()
