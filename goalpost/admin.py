"""``goalpost admin``: Yandex accounts, Metrika counters, webhooks and keys. Tokens go in and are never printed."""

from __future__ import annotations

import uuid
from typing import Final

import click

from goalpost.admin_output import json_option, show, show_rows
from goalpost.admin_session import database, rows, secret_from, the_one, vault
from goalpost.admin_webhooks import webhook
from goalpost.registration import ensure_account, ensure_counter, ensure_user
from runtime.vault import generate_key

ACCOUNTS: Final = """
SELECT id::text, name, yandex_uid, user_id::text, refresh_token IS NOT NULL AS renewable, token_expires_at,
       paused_reason
FROM yandex_accounts ORDER BY created_at, id
"""
COUNTERS: Final = """
SELECT counter.id::text, counter.counter_id, counter.name, account.name AS account, account.id::text AS account_id
FROM metrika_counters AS counter JOIN yandex_accounts AS account ON account.id = counter.account_id
ORDER BY counter.created_at, counter.id
"""
# The column's type is the seed's INT.
_LARGEST_COUNTER: Final = 2**31 - 1


@click.group()
def admin() -> None:
    """Accounts, counters, webhooks and keys. Begin with: account add, counter add, webhook add."""


@admin.group()
def account() -> None:
    """Yandex accounts whose tokens upload conversions."""


@account.command("add")
@click.option("--name", required=True, help="What people call it.")
@click.option("--yandex-uid", required=True, help="The account's number or login at Yandex.")
@click.option(
    "--access-token",
    envvar="METRIKA_ACCESS_TOKEN",
    help="OAuth token with metrika:write or metrika:offline_data; asked for, or read from standard input, if absent.",
)
@click.option("--refresh-token", envvar="METRIKA_REFRESH_TOKEN", help="Lets goalpost renew the token in time.")
@click.option("--user-id", type=click.UUID, help="Owner in auth.users.")
@click.option("--email", help="Owner in auth.users, by e-mail address.")
@json_option
def account_add(
    name: str,
    yandex_uid: str,
    access_token: str | None,
    refresh_token: str | None,
    user_id: uuid.UUID | None,
    email: str | None,
    as_json: bool,
) -> None:
    """Add an account; one with the same --yandex-uid gets the new name and tokens, and uploads go on."""
    token = secret_from(access_token, "access token")
    sealing = vault()
    with database() as connection:
        known = [row for row in rows(connection, ACCOUNTS) if row["yandex_uid"] == yandex_uid]
        account_id = uuid.UUID(known[0]["id"]) if known else uuid.uuid4()
        owner = uuid.UUID(known[0]["user_id"]) if known else ensure_user(connection, user_id=user_id, email=email)
        ensure_account(
            connection,
            sealing,
            account_id=account_id,
            user_id=owner,
            name=name,
            yandex_uid=yandex_uid,
            access_token=token,
            refresh_token=refresh_token,
        )
    content = {"account_id": str(account_id), "name": name, "yandex_uid": yandex_uid, "added": not known}
    done = "has the new token" if known else "added"
    lines = [f"Account {name} {done}: {account_id}", "Next: goalpost admin counter add --counter-id NUMBER"]
    show(content, lines, as_json=as_json)


@account.command("list")
@json_option
def account_list(as_json: bool) -> None:
    """List accounts. paused_reason says why uploads of an account rest."""
    with database() as connection:
        found = rows(connection, ACCOUNTS)
    show_rows(
        "accounts", found, as_json=as_json, hint="There is no account. Add one with `goalpost admin account add`."
    )


@admin.group()
def counter() -> None:
    """Metrika counters that conversions are uploaded to."""


@counter.command("add")
@click.option("--account", "wanted", help="Name, Yandex number or id; not needed where there is only one.")
@click.option("--counter-id", required=True, type=click.IntRange(1, _LARGEST_COUNTER), help="The number in Metrika.")
@click.option("--name", help="What people call it.")
@json_option
def counter_add(wanted: str | None, counter_id: int, name: str | None, as_json: bool) -> None:
    """Add a counter to an account; one with the same number there gets the new name."""
    with database() as connection:
        owner = the_one("account", rows(connection, ACCOUNTS), wanted, by=("id", "name", "yandex_uid"))
        known = [
            row
            for row in rows(connection, COUNTERS)
            if row["counter_id"] == counter_id and row["account_id"] == owner["id"]
        ]
        row_id = uuid.UUID(known[0]["id"]) if known else uuid.uuid4()
        ensure_counter(connection, row_id=row_id, account_id=uuid.UUID(owner["id"]), counter_id=counter_id, name=name)
    content = {"id": str(row_id), "counter_id": counter_id, "name": name, "account": owner["name"], "added": not known}
    done = "was there already" if known else "added"
    lines = [
        f"Counter {counter_id} of {owner['name']} {done}: {row_id}",
        f"Next: goalpost admin webhook add --counter {counter_id} --name NAME",
    ]
    show(content, lines, as_json=as_json)


@counter.command("list")
@json_option
def counter_list(as_json: bool) -> None:
    """List counters."""
    with database() as connection:
        found = rows(connection, COUNTERS)
    show_rows(
        "counters", found, as_json=as_json, hint="There is no counter. Add one with `goalpost admin counter add`."
    )


admin.add_command(webhook)


@admin.group()
def keys() -> None:
    """Keys that secrets at rest are encrypted with."""


@keys.command("generate")
@json_option
def keys_generate(as_json: bool) -> None:
    """Print a new key for GOALPOST_SECRET_KEY. To rotate, put it in front of the old one, separated by a comma."""
    key = generate_key()
    show({"key": key}, [key], as_json=as_json)
