"""Tells the webhook service and the join about webhooks: the compacted topic goalpost.webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from goalpost.cluster import admin, broker_calls
from runtime import kafka
from runtime.registry import Registry
from schemas.contracts import WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.records import Outgoing
from schemas.topics import WEBHOOKS

_CLIENT_ID: Final = "goalpost-admin"
_SECONDS: Final = 5.0


def publish(
    bootstrap_servers: str, registry_url: str, webhooks: Iterable[Webhook], removed: Iterable[str] = ()
) -> None:
    """Write the configurations, and empty values for the ids that were ``removed``; return when Kafka has them.

    Raises:
        goalpost.cluster.ClusterUnavailable, runtime.registry.RegistryUnavailable: no answer.
        runtime.failures.Fatal: the schema is not registered, or Kafka did not acknowledge.
    """
    codec = Registry(registry_url).codec(WEBHOOK_CONFIGURATIONS)
    with broker_calls():
        # A producer would wait half a minute before it says that nobody is there.
        admin(bootstrap_servers).list_topics(WEBHOOKS.name, timeout=_SECONDS)
    records = [
        Outgoing(topic=WEBHOOKS.name, key=webhook.webhook_id.encode(), value=codec.encode(webhook))
        for webhook in webhooks
    ]
    records += [Outgoing(topic=WEBHOOKS.name, key=webhook_id.encode(), value=None) for webhook_id in removed]
    kafka.Sender(kafka.producer(bootstrap_servers, client_id=_CLIENT_ID)).send(records)
