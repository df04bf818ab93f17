"""The account, the counter and the webhooks of a sandbox, one per dialect: the person's own counter where the settings
name one, else the simulator's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg

from goalpost.admin.registration import Connection, NoSuchUser, ensure_account, ensure_counter, ensure_user
from goalpost.metrika_account import MetrikaAccount
from goalpost.webhooks.publishing import publish
from goalpost.webhooks.registration import WebhookPlan, ensure_webhook
from producers.dialects import DIALECTS
from runtime.vault import Vault
from sandbox.credentials import FIRST_DIALECT, Credentials
from schemas.events import ANY_STAGE, GoalRule

_NAME: Final = "sandbox"
# amoCRM reports every move of a lead, and each account numbers its stages anew: to be played with, any of them counts.
_RULES: Final = {"amocrm": (GoalRule(stage=ANY_STAGE, goal="crm_conversion"),)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What was set up. ``hooks`` maps a dialect to the full address of its webhook, token included."""

    webhook_id: str
    metrika_counter_id: int
    hooks: Mapping[str, str]


def enrol(
    settings: Mapping[str, str], credentials: Credentials, metrika: MetrikaAccount, *, webhook_url: str
) -> Enrolment:
    """Write account, counter and webhooks to Postgres and publish the webhooks; a repeat changes nothing.

    Raises:
        goalpost.admin.registration.NoSuchUser: a Supabase project without a single user.
    """
    vault = Vault(settings["GOALPOST_SECRET_KEY"])
    with psycopg.connect(settings["DATABASE_URL"], application_name="goalpost-sandbox") as connection:
        counter = _counter(connection, vault, metrika)
        webhooks = [
            ensure_webhook(connection, vault, _plan(dialect, credentials, counter, webhook_url)) for dialect in DIALECTS
        ]
    publish(settings["KAFKA_BOOTSTRAP_SERVERS"], settings["SCHEMA_REGISTRY_URL"], webhooks)
    return Enrolment(
        webhook_id=credentials.webhook_id,
        metrika_counter_id=metrika.counter_id,
        hooks={dialect: "{}/hooks/{}/{}".format(webhook_url, *credentials.of_dialect(dialect)) for dialect in DIALECTS},
    )


def _plan(dialect: str, credentials: Credentials, counter: uuid.UUID, webhook_url: str) -> WebhookPlan:
    webhook_id, secret = credentials.of_dialect(dialect)
    return WebhookPlan(
        webhook_id=uuid.UUID(webhook_id),
        counter=counter,
        name=_NAME if dialect == FIRST_DIALECT else f"{_NAME} {dialect}",
        dialect=dialect,
        secret=secret,
        url=f"{webhook_url}/hooks/{webhook_id}",
        rules=_RULES.get(dialect, ()),
    )


def _counter(connection: Connection, vault: Vault, metrika: MetrikaAccount) -> uuid.UUID:
    """The row of the counter; account and counter keep their ids from start to start, whichever sandbox asks."""
    number = metrika.counter_id
    account = uuid.uuid5(uuid.NAMESPACE_URL, f"goalpost:sandbox:account:{number}")
    counter = uuid.uuid5(uuid.NAMESPACE_URL, f"goalpost:sandbox:counter:{number}")
    ensure_account(
        connection,
        vault,
        account_id=account,
        user_id=_owner(connection),
        name="sandbox",
        yandex_uid=f"counter-{number}",
        access_token=metrika.access_token,
        refresh_token=metrika.refresh_token,
        expires_at=datetime.now(UTC) if metrika.renews_first else None,
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
