"""``goalpost admin account``: Yandex accounts whose tokens upload conversions. Tokens go in and are never printed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final, assert_never

import click

from goalpost.admin.registration import Connection, ensure_account, ensure_user
from goalpost.admin.session import database, rows, secret_from, the_one, vault, wake_uploads
from goalpost.console import json_option, say, show, show_rows
from runtime.sections import MetrikaSettings
from runtime.settings import load
from sinks.metrika.answers import Refreshed, Unauthorized, Unclear, Unsent
from sinks.metrika.client import OAuth

ACCOUNTS: Final = """
SELECT id::text, name, yandex_uid, user_id::text, refresh_token IS NOT NULL AS renewable, token_expires_at,
       paused_reason
FROM yandex_accounts ORDER BY created_at, id
"""
_NO_ACCOUNT: Final = "There is no account. Add one with `goalpost admin account login`, or `add` with a token you have."
_NO_CLIENT: Final = (
    "YANDEX_CLIENT_ID and YANDEX_CLIENT_SECRET are not set. Register an application at https://oauth.yandex.ru with "
    "the scope metrika:offline_data and the redirect address https://oauth.yandex.ru/verification_code, and set both."
)


@click.group()
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
    token = Refreshed(
        access_token=secret_from(access_token, "access token"), refresh_token=refresh_token, expires_in_seconds=None
    )
    with database() as connection:
        known = [row for row in rows(connection, ACCOUNTS) if row["yandex_uid"] == yandex_uid]
        found = known[0] if known else {"yandex_uid": yandex_uid}
        written = _written(connection, {**found, "name": name}, token, user_id=user_id, email=email)
    _say(written, added=not known, as_json=as_json)


@account.command("login")
@click.option("--name", help="What people call it; needed for a new account.")
@click.option("--yandex-uid", help="The account's number or login at Yandex; not needed where there is one account.")
@click.option("--code", help="The code that the consent page shows; asked for, or read from standard input, if absent.")
@click.option("--user-id", type=click.UUID, help="Owner in auth.users of a new account.")
@click.option("--email", help="Owner in auth.users of a new account, by e-mail address.")
@json_option
def account_login(
    name: str | None,
    yandex_uid: str | None,
    code: str | None,
    user_id: uuid.UUID | None,
    email: str | None,
    as_json: bool,
) -> None:
    """Let goalpost upload for an account: shows the address of Yandex's consent page and takes the code that it gives.

    For a new account, or for one that is paused because its access was revoked: its conversions have waited.
    """
    oauth = _oauth()
    with database() as connection:
        found = _meant(connection, name, yandex_uid)
    if code is None:
        say(f"Open this address as {found['yandex_uid']}, allow access, and copy the code:", err=True)
        say(f"  {oauth.consent_address()}", err=True)
    tokens = _exchanged(oauth, secret_from(code, "code"))
    with database() as connection:
        written = _written(connection, found, tokens, user_id=user_id, email=email)
        wake_uploads(connection)
    _say(written, added="id" not in found, as_json=as_json)


@account.command("resume")
@click.option("--account", "wanted", help="Name, Yandex number or id; not needed where there is only one.")
@json_option
def account_resume(wanted: str | None, as_json: bool) -> None:
    """Try an account again that is paused, with the token it has: after access to a counter was given back, say."""
    with database() as connection:
        found = the_one("account", rows(connection, ACCOUNTS), wanted, by=("id", "name", "yandex_uid"))
        connection.execute("UPDATE yandex_accounts SET paused_reason = NULL WHERE id = %s", (found["id"],))
        wake_uploads(connection)
    reason = found["paused_reason"]
    line = f"Account {found['name']} is tried again." if reason else f"Account {found['name']} was not paused."
    show({"account_id": found["id"], "was_paused": reason is not None}, [line], as_json=as_json)


@account.command("list")
@json_option
def account_list(as_json: bool) -> None:
    """List accounts. paused_reason says why uploads of an account rest."""
    with database() as connection:
        found = rows(connection, ACCOUNTS)
    show_rows("accounts", found, as_json=as_json, hint=_NO_ACCOUNT)


def _oauth() -> OAuth:
    (settings,) = load(MetrikaSettings)
    if settings.client_id is None or settings.client_secret is None:
        raise click.ClickException(_NO_CLIENT)
    return OAuth(
        settings.oauth_url, client_id=settings.client_id, client_secret=settings.client_secret.get_secret_value()
    )


def _meant(connection: Connection, name: str | None, yandex_uid: str | None) -> dict[str, Any]:
    """Return the account to log in: one that is known, or what is needed for a new one."""
    found = rows(connection, ACCOUNTS)
    known = [row for row in found if row["yandex_uid"] == yandex_uid]
    if known:
        return {**known[0], "name": name or known[0]["name"]}
    if yandex_uid is None and found:
        return the_one("account", found, name, by=("name",))
    if name is None or yandex_uid is None:
        raise click.ClickException("A new account needs --name and --yandex-uid.")
    return {"name": name, "yandex_uid": yandex_uid}


def _exchanged(oauth: OAuth, code: str) -> Refreshed:
    answer = oauth.exchange(code)
    match answer:
        case Refreshed():
            return answer
        case Unauthorized():
            raise click.ClickException(
                f"Yandex refused the code ({answer.message}). A code is good once and for ten minutes: run the command "
                "again and open its address anew. For invalid_client, check YANDEX_CLIENT_ID and YANDEX_CLIENT_SECRET."
            )
        case Unsent() | Unclear():
            raise click.ClickException(f"Yandex OAuth did not answer ({answer.message}). Run the command again.")
        case _:
            assert_never(answer)


def _written(
    connection: Connection, wanted: dict[str, Any], tokens: Refreshed, *, user_id: uuid.UUID | None, email: str | None
) -> dict[str, Any]:
    known = wanted.get("id")
    account_id = uuid.UUID(known) if known else uuid.uuid4()
    lifetime = tokens.expires_in_seconds
    ensure_account(
        connection,
        vault(),
        account_id=account_id,
        user_id=uuid.UUID(wanted["user_id"]) if known else ensure_user(connection, user_id=user_id, email=email),
        name=wanted["name"],
        yandex_uid=wanted["yandex_uid"],
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_at=datetime.now(UTC) + timedelta(seconds=lifetime) if lifetime else None,
    )
    return {"account_id": str(account_id), "name": wanted["name"], "yandex_uid": wanted["yandex_uid"]}


def _say(written: dict[str, Any], *, added: bool, as_json: bool) -> None:
    done = "added" if added else "has the new token"
    lines = [f"Account {written['name']} {done}: {written['account_id']}"]
    lines += ["Next: goalpost admin counter add --counter-id NUMBER"] if added else []
    show({**written, "added": added}, lines, as_json=as_json)
