"""Tokens: given on the terminal, renewed in time, by one process at a time, and never lost on the way to the table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from goalpost.metrika_account import NO_TOKEN_YET
from runtime.lifecycle import Stop
from runtime.vault import Vault, generate_key
from sandbox.stack import Addresses
from sinks.metrika.answers import Unauthorized
from sinks.metrika.client import OAuth
from sinks.metrika.renewal import Paused, Renewal
from sinks.metrika.tables import accounts, counters
from sinks.metrika.tables.accounts import Account
from tests.integration.metrika_world import World, eventually, world

CLIENT = {"YANDEX_CLIENT_ID": "id", "YANDEX_CLIENT_SECRET": "secret"}


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def _consent(here: World) -> dict[str, Any]:
    """A pair of tokens; from now on only issued tokens are good."""
    here.configure(strict_tokens=True)
    tokens = requests.post(f"{here.simulator_url}/_control/tokens", timeout=10).json()
    assert isinstance(tokens, dict)
    return tokens


def _put(here: World, access_token: str, refresh_token: str | None, **columns: str) -> None:
    sealed = here.vault.seal(refresh_token) if refresh_token else None
    here.query(
        "UPDATE yandex_accounts SET access_token = %s, refresh_token = %s RETURNING id",
        here.vault.seal(access_token),
        sealed,
    )
    for column, expression in columns.items():
        here.query(f"UPDATE yandex_accounts SET {column} = {expression} RETURNING id")


def _code(here: World, address: str) -> str:
    """Allow access on the consent page, as a person does, and return the code that is shown."""
    fields = {"client_id": "id", "response_type": "code", "login": "shop", "decision": "allow"}
    assert "client_id=id" in address
    shown = requests.post(address.partition("?")[0], data=fields, timeout=10)
    found = re.search(r"<code>([^<]+)</code>", shown.text)
    assert found is not None, shown.text
    return found[1]


def _paused(here: World) -> str | None:
    reason = here.value("SELECT paused_reason FROM yandex_accounts")
    return None if reason is None else str(reason)


def test_a_person_logs_in_on_the_terminal_and_what_waited_is_uploaded(here: World) -> None:
    _consent(here)
    _put(here, "y0_revoked", None)
    here.store(3)
    with here.sink(**CLIENT):
        said = eventually(lambda: _paused(here), bool)
        assert "goalpost admin account login" in str(said)
        assert here.stages() == {"batched": 3}
        levels = counters.levels(here.connection)
        assert (levels.pending, levels.deadline is None) == (3, False)  # the alert about deadlines sees them, too
        code = _code(here, f"{here.simulator_url}/authorize?response_type=code&client_id=id")
        told = json.loads(here.admin("account", "login", "--code", code, "--json", settings=CLIENT))
        assert (told["name"], told["added"]) == ("shop", False)
        assert here.until_settled() == {"processed": 3}
    ((expires, renewable),) = here.query(
        "SELECT token_expires_at > now() + interval '300 days', refresh_token LIKE 'sealed:%%' FROM yandex_accounts"
    )
    assert (expires, renewable) == (True, True)


def test_the_login_shows_the_consent_page_and_explains_a_refused_code(here: World) -> None:
    said = here.admin("account", "login", "--code", "made-up", status=1, settings=CLIENT)
    assert "invalid_grant" in said
    assert "run the command again" in said
    assert "YANDEX_CLIENT_ID" in here.admin("account", "login", "--code", "1", status=1)
    assert "--yandex-uid" in here.admin(
        "account", "login", "--yandex-uid", "new", "--code", "1", status=1, settings=CLIENT
    )


def test_a_refresh_token_alone_is_renewed_before_the_first_upload(here: World) -> None:
    """As `make up` writes the account where only METRIKA_REFRESH_TOKEN is set."""
    tokens = _consent(here)
    _put(here, NO_TOKEN_YET, tokens["refresh_token"], refreshed_at="now()", token_expires_at="now()")
    here.store(2)
    with here.sink(**CLIENT):
        assert here.until_settled() == {"processed": 2}
    assert here.requests("token") == {"200": 1}
    assert set(here.requests()) == {"200"}


def test_a_token_is_renewed_before_it_ends_and_no_request_is_refused(here: World) -> None:
    tokens = _consent(here)
    soon = {"refreshed_at": "now() - interval '11 months'", "token_expires_at": "now() + interval '1 day'"}
    _put(here, tokens["access_token"], tokens["refresh_token"], **soon)
    here.store(2)
    with here.sink(**CLIENT), here.sink(**CLIENT):
        assert here.until_settled() == {"processed": 2}
    assert here.requests("token") == {"200": 1}
    assert set(here.requests()) == {"200"}
    assert here.value("SELECT token_expires_at > now() + interval '300 days' FROM yandex_accounts")


def test_a_renewal_that_fails_leaves_the_token_that_is_still_good(here: World) -> None:
    tokens = _consent(here)
    _put(here, tokens["access_token"], "void", token_expires_at="now() + interval '1 day'")
    here.store(2)
    with here.sink(**CLIENT):
        assert here.until_settled() == {"processed": 2}
    assert _paused(here) is None
    assert "token.not_renewed" in here.log


def test_after_a_crash_in_a_refresh_the_old_refresh_token_is_tried_once_more(here: World) -> None:
    tokens = _consent(here)
    _put(here, "y0_expired", tokens["refresh_token"], refreshing_since="now() - interval '1 minute'")
    here.store(2)
    with here.sink(**CLIENT):
        assert here.until_settled() == {"processed": 2}
    assert here.value("SELECT refreshing_since FROM yandex_accounts") is None


def test_where_the_crash_has_used_it_up_the_account_says_so_and_its_rows_wait(here: World) -> None:
    _consent(here)
    _put(here, "y0_expired", "used_up", refreshing_since="now() - interval '1 minute'")
    here.store(2)
    with here.sink(**CLIENT):
        said = str(eventually(lambda: _paused(here), bool))
    assert "was cut off before its answer could be stored" in said
    assert here.stages() == {"batched": 2}
    assert here.requests("token") == {"400 invalid_grant": 1}


def _renewal(here: World) -> Renewal:
    """What one process renews tokens with."""
    return Renewal(
        vault=Vault(here.secret_key),
        oauth=OAuth(here.simulator_url, client_id="id", client_secret="secret"),
        connect=partial(psycopg.connect, here.database_url, autocommit=True),
        clock=lambda: datetime.now(UTC),
        stop=Stop(),
    )


def test_of_two_processes_one_asks_with_a_used_up_token_and_the_reason_stays(here: World) -> None:
    _consent(here)
    _put(here, "y0_expired", "used_up", refreshing_since="now() - interval '1 minute'")
    known, refusal = accounts.read(here.connection, here.account), Unauthorized(message="HTTP 403 invalid_token")
    for _ in range(2):
        assert _renewal(here).after_refusal(here.connection, known, refusal) == Paused()
    assert here.requests("token") == {"400 invalid_grant": 1}

    paused = accounts.read(here.connection, here.account)  # as each process tries again later
    assert _renewal(here).after_refusal(here.connection, paused, refusal) == Paused()
    assert "was cut off before its answer could be stored" in str(_paused(here))


def test_a_token_that_was_sealed_anew_meanwhile_is_refreshed_all_the_same(here: World) -> None:
    """Taken for a new one it would be refused again, and the account paused while nothing was wrong with it."""
    tokens = _consent(here)
    _put(here, "y0_expired", tokens["refresh_token"])
    known = accounts.read(here.connection, here.account)
    here.secret_key = f"{generate_key()},{here.secret_key}"
    here.admin("keys", "rotate")
    renewed = _renewal(here).after_refusal(here.connection, known, Unauthorized(message="HTTP 403 invalid_token"))
    assert isinstance(renewed, Account)
    assert renewed.paused_reason is None
    assert Vault(here.secret_key).open(renewed.access_token) not in ("y0_expired", tokens["access_token"])


def test_an_account_is_resumed_by_hand_with_the_token_it_has(here: World) -> None:
    here.configure(revoked_tokens=["y0_good"])
    here.store(2)
    with here.sink():
        eventually(lambda: _paused(here), bool)
        here.configure(revoked_tokens=[])
        assert "tried again" in here.admin("account", "resume")
        assert here.until_settled(within_seconds=10) == {"processed": 2}
    assert "was not paused" in here.admin("account", "resume")


def test_keys_are_rotated_while_an_uploader_works(here: World) -> None:
    """New key in front of the old one; everything is sealed anew; then the new one alone opens it all."""
    here.query(
        "UPDATE offline_webhooks SET secret = %s, previous_secrets = %s RETURNING id", here.vault.seal("s"), ["clear"]
    )
    old, new = here.secret_key, generate_key()
    here.secret_key = f"{new},{old}"
    counted = {"accounts": 1, "webhooks": 1, "secrets": 3}
    with here.sink():
        here.store(1)
        assert here.until_settled() == {"processed": 1}
        before = here.value("SELECT secret FROM offline_webhooks")
        dry = json.loads(here.admin("keys", "rotate", "--dry-run", "--json"))
        assert {name: dry[name] for name in counted} == counted
        assert here.value("SELECT secret FROM offline_webhooks") == before
        told = json.loads(here.admin("keys", "rotate", "--json"))
        assert {name: told[name] for name in counted} == counted
        assert (told["published"], told["problems"]) == (True, [])
        here.store(2, visitor=10**15)
        assert here.until_settled() == {"processed": 3}
    again = json.loads(here.admin("keys", "rotate", "--json"))
    assert again["secrets"] == 0
    alone = Vault(new)
    assert alone.open(here.value("SELECT access_token FROM yandex_accounts")) == "y0_good"
    ((secret, previous),) = here.query("SELECT secret, previous_secrets[1] FROM offline_webhooks")
    assert (alone.open(secret), alone.open(previous)) == ("s", "clear")


def test_a_secret_that_no_key_opens_is_named_and_the_others_are_sealed_anew(here: World) -> None:
    lost = here.add_account()
    here.query(
        "UPDATE yandex_accounts SET access_token = %s WHERE id = %s RETURNING id", Vault(generate_key()).seal("x"), lost
    )
    here.secret_key = f"{generate_key()},{here.secret_key}"
    told = json.loads(here.admin("keys", "rotate", "--json", status=1))
    assert told["accounts"] == 1
    (problem,) = told["problems"]
    assert str(lost) in problem
    assert "GOALPOST_SECRET_KEY" in problem
