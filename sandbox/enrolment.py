"""The account, the counter and the webhook of a sandbox: the person's own counter where the settings name one, else the
simulator's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg

from goalpost.registration import Connection, NoSuchUser, ensure_account, ensure_counter, ensure_user
from goalpost.webhook_publishing import publish
from goalpost.webhook_registration import WebhookPlan, ensure_webhook
from runtime.vault import Vault
from sandbox.credentials import Credentials

# Any number does for the simulator; this one is easy to find in a listing.
SIMULATED_COUNTER: Final = 10_000_001
SIMULATED_TOKEN: Final = "simulated-token"  # noqa: S105 - opens nothing but the simulator
_DIALECT: Final = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What was set up. ``hooks`` maps a dialect to the full address of its webhook, token included."""

    webhook_id: str
    metrika_counter_id: int
    hooks: Mapping[str, str]


def enrol(settings: Mapping[str, str], credentials: Credentials, *, webhook_url: str) -> Enrolment:
    """Write account, counter and webhook to Postgres and publish the webhook; a repeat changes nothing.

    Raises:
        goalpost.registration.NoSuchUser: a Supabase project without a single user.
    """
    vault = Vault(settings["GOALPOST_SECRET_KEY"])
    number = int(settings.get("METRIKA_COUNTER_ID") or SIMULATED_COUNTER)
    hook = f"{webhook_url}/hooks/{credentials.webhook_id}/{credentials.webhook_secret}"
    with psycopg.connect(settings["DATABASE_URL"], application_name="goalpost-sandbox") as connection:
        counter = _counter(connection, vault, settings, number)
        webhook = ensure_webhook(
            connection,
            vault,
            WebhookPlan(
                webhook_id=uuid.UUID(credentials.webhook_id),
                counter=counter,
                name="sandbox",
                dialect=_DIALECT,
                secret=credentials.webhook_secret,
                url=f"{webhook_url}/hooks/{credentials.webhook_id}",
            ),
        )
    publish(settings["KAFKA_BOOTSTRAP_SERVERS"], settings["SCHEMA_REGISTRY_URL"], [webhook])
    return Enrolment(webhook_id=credentials.webhook_id, metrika_counter_id=number, hooks={_DIALECT: hook})


def _counter(connection: Connection, vault: Vault, settings: Mapping[str, str], number: int) -> uuid.UUID:
    """The row of the counter; account and counter keep their ids from start to start, whichever sandbox asks."""
    account = uuid.uuid5(uuid.NAMESPACE_URL, f"goalpost:sandbox:account:{number}")
    counter = uuid.uuid5(uuid.NAMESPACE_URL, f"goalpost:sandbox:counter:{number}")
    ensure_account(
        connection,
        vault,
        account_id=account,
        user_id=_owner(connection),
        name="sandbox",
        yandex_uid=f"counter-{number}",
        access_token=settings.get("METRIKA_ACCESS_TOKEN") or SIMULATED_TOKEN,
        refresh_token=settings.get("METRIKA_REFRESH_TOKEN") or None,
    )
    ensure_counter(connection, row_id=counter, account_id=account, counter_id=number, name="sandbox")
    return counter


def _owner(connection: Connection) -> uuid.UUID:
    """On Supabase the project's first user, who is the one that set it up; on plain PostgreSQL goalpost's own."""
    try:
        return ensure_user(connection)
    except NoSuchUser:
        first = connection.execute("SELECT id FROM auth.users ORDER BY created_at, id LIMIT 1").fetchone()
        if first is None:
            raise
        return uuid.UUID(str(first[0]))
