"""``goalpost quarantine``: requests that did not authenticate, checked again after a secret was mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import click
from rich.table import Table

from goalpost.cluster import records
from goalpost.console import execute_option, json_option, output, print_json, say
from goalpost.moment import Moment, iso
from goalpost.quarantine.checking import Checked, Verdict, checked
from goalpost.webhooks.published import configurations
from producers.directory import Entry, Index, index_of
from producers.signature import keys_of
from runtime import kafka
from runtime.failures import Fatal
from runtime.registry import Registry
from runtime.sections import KafkaSettings, TimeSettings, VaultSettings
from runtime.settings import load
from runtime.vault import Vault
from schemas.contracts import RAW_EVENTS, WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.topics import QUARANTINE, WEBHOOKS

_CLIENT_ID: Final = "goalpost-quarantine"

_webhook = click.option("--webhook", "webhooks", multiple=True, metavar="UUID", help="Only requests to this webhook.")
_since = click.option("--since", "since_ms", type=Moment(), default=0, help="Received at or after: 2h or an ISO time.")


@click.group()
def quarantine() -> None:
    """Requests with a wrong secret or signature, kept for a day.

    Mend the secret (`goalpost admin webhook change`), then `retry`: what is authentic now goes the ordinary way. Of the
    secrets that were shown only hashes are kept, and nothing is ever taken without a check.
    """


@quarantine.command()
@_webhook
@_since
@json_option
def ls(*, webhooks: tuple[str, ...], since_ms: int, as_json: bool) -> None:
    """Count requests by webhook and by what they are now."""
    _show(list(_checked(webhooks, since_ms)), as_json=as_json, done=False)


@quarantine.command()
@_webhook
@_since
@execute_option()
@json_option
def retry(*, webhooks: tuple[str, ...], since_ms: int, execute: bool, as_json: bool) -> None:
    """Publish what is authentic now, as if it came today.

    Events that the sender names get the ids that they would have had; the others get ids that follow from their place
    in the quarantine. So a repeat, and a sender's own repeat of an event that it names, add nothing.
    """
    found = list(_checked(webhooks, since_ms))
    if execute:
        (settings,) = load(KafkaSettings)
        sender = kafka.Sender(kafka.producer(settings.bootstrap_servers, client_id=_CLIENT_ID))
        sender.send(record for one in found for record in one.records)
    _show(found, as_json=as_json, done=execute)


def _checked(webhooks: tuple[str, ...], since_ms: int) -> Iterator[Checked]:
    settings, vault, times = load(KafkaSettings, VaultSettings, TimeSettings)
    registry = Registry(settings.schema_registry_url)
    codec = registry.codec(RAW_EVENTS)
    index = _index(settings.bootstrap_servers, registry, Vault(vault.secret_key.get_secret_value()))
    for record in records(settings.bootstrap_servers, [QUARANTINE.name], since_ms=since_ms):
        one = checked(record, index, codec, zone=times.timezone)
        if not webhooks or one.webhook_id in webhooks:
            yield one


def _index(bootstrap_servers: str, registry: Registry, vault: Vault) -> Index:
    known = configurations(records(bootstrap_servers, [WEBHOOKS.name]), registry.codec(WEBHOOK_CONFIGURATIONS))
    return index_of(Entry(webhook=one, signing_keys=_signing_keys(one, vault)) for one in known.values())


def _signing_keys(webhook: Webhook, vault: Vault) -> tuple[bytes, ...]:
    try:
        return tuple(key for sealed in webhook.sealed_secrets for key in keys_of(vault.open(sealed)))
    except Fatal:  # sealed with a key that is lost: its signatures cannot be checked, its hashes can
        return ()


def _show(found: list[Checked], *, as_json: bool, done: bool) -> None:
    published = [event_id for one in found for event_id in one.event_ids] if done else []
    if as_json:
        requests = [
            {
                "webhook": one.webhook_id,
                "place": one.place,
                "received_at": iso(one.received_at),
                "now": one.verdict.value,
                "event_ids": list(one.event_ids),
            }
            for one in found
        ]
        print_json({"requests": requests, "published": published})
        return
    if not found:
        say("There is nothing in quarantine.")
        return
    table = Table("webhook", "now", "requests", "first", "last", box=None)
    counts = Counter((one.webhook_id, one.verdict.value) for one in found)
    for (webhook_id, verdict), number in sorted(counts.items()):
        times = [one.received_at for one in found if (one.webhook_id, one.verdict.value) == (webhook_id, verdict)]
        table.add_row(webhook_id, verdict, str(number), iso(min(times)), iso(max(times)))
    output().print(table)
    if done:
        say(f"Published {len(published)} events.")
    elif any(one.verdict is Verdict.AUTHENTIC for one in found):
        say("Run `goalpost quarantine retry --execute` to publish what is authentic now.")
