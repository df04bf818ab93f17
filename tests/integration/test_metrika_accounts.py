"""Tokens: refreshed once, paused with a reason, and tried again when they change. Conversions only wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.stack import Addresses
from tests.integration.metrika_world import World, eventually, world

CLIENT = {"YANDEX_CLIENT_ID": "id", "YANDEX_CLIENT_SECRET": "secret"}


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def _consent(here: World) -> dict[str, Any]:
    """A pair of tokens, as a person's consent gives; from now on only issued tokens are good."""
    tokens = requests.post(f"{here.simulator_url}/_control/tokens", timeout=10).json()
    here.configure(strict_tokens=True)
    assert isinstance(tokens, dict)
    return tokens


def _put(here: World, access_token: str, refresh_token: str | None) -> None:
    sealed = here.vault.seal(refresh_token) if refresh_token else None
    sql = "UPDATE yandex_accounts SET access_token = %s, refresh_token = %s RETURNING id"
    here.query(sql, here.vault.seal(access_token), sealed)


def _paused(here: World) -> str | None:
    reason = here.value("SELECT paused_reason FROM yandex_accounts")
    return None if reason is None else str(reason)


def test_a_refused_token_is_refreshed_once_for_all_counters_and_both_tokens_are_stored(here: World) -> None:
    tokens = _consent(here)
    _put(here, "y0_expired", tokens["refresh_token"])
    for number in range(3):
        here.store(2, counter=here.add_counter(3000 + number))
    with here.sink(**CLIENT):
        assert here.until_settled() == {"processed": 6}
    here.assert_each_once(6)
    assert here.requests("token") == {"200": 1}
    stored = here.query(
        "SELECT access_token, refresh_token, paused_reason, token_expires_at > now() FROM yandex_accounts"
    )
    ((access, refresh, paused, valid),) = stored
    assert (access[:7], refresh[:7], paused, valid) == ("sealed:", "sealed:", None, True)
    assert here.vault.open(refresh) != tokens["refresh_token"]


def test_a_legacy_token_in_clear_is_used_as_it_is(here: World) -> None:
    tokens = _consent(here)
    here.query("UPDATE yandex_accounts SET access_token = %s RETURNING id", tokens["access_token"])
    here.store(2)
    with here.sink():
        assert here.until_settled() == {"processed": 2}


@pytest.mark.parametrize(
    ("settings", "refresh_token", "reason"),
    [
        ({}, "anything", "YANDEX_CLIENT_ID"),
        (CLIENT, None, "refresh token"),
        (CLIENT, "void", "invalid_grant"),
    ],
)
def test_without_a_way_to_refresh_the_account_pauses_until_its_token_changes(
    here: World, settings: dict[str, str], refresh_token: str | None, reason: str
) -> None:
    tokens = _consent(here)
    _put(here, "y0_expired", refresh_token)
    here.store(2)
    with here.sink(**settings):
        said = eventually(lambda: _paused(here), bool)
        assert said is not None
        assert reason in said
        assert "goalpost admin account login" in said
        assert here.stages() == {"batched": 2}
        asked = sum(here.requests().values())
        here.store(2, visitor=9_000_000_000)
        _put(here, tokens["access_token"], None)
        assert here.until_settled() == {"processed": 4}
        assert _paused(here) is None
    here.assert_each_once(4)
    assert asked == 1


def test_one_account_that_is_paused_stops_no_other(here: World) -> None:
    tokens = _consent(here)
    _put(here, tokens["access_token"], None)
    other = here.add_counter(4001, here.add_account("y0_expired"))
    here.store(2, counter=other)
    with here.sink():
        eventually(lambda: here.log, lambda log: "account.paused" in log)
        here.store(3)
        eventually(here.stages, lambda stages: stages["processed"] == 3)
    assert here.value("SELECT count(*) FROM yandex_accounts WHERE paused_reason IS NULL") == 1


def test_a_token_that_no_key_opens_pauses_the_account_and_not_the_process(here: World) -> None:
    here.query("UPDATE yandex_accounts SET access_token = 'sealed:nonsense' RETURNING id")
    here.store(2)
    with here.sink() as process:
        said = eventually(lambda: _paused(here), bool)
        assert process.poll() is None
    assert said is not None
    assert "GOALPOST_SECRET_KEY" in said
    assert here.requests() == {}


def test_the_log_shows_neither_tokens_nor_visitors(here: World) -> None:
    tokens = _consent(here)
    _put(here, "y0_expired_and_quite_long", tokens["refresh_token"])
    here.store(2, client_id="1666707227246044402")
    with here.sink(**CLIENT):
        here.until_settled()
    secrets = ["y0_expired", tokens["refresh_token"], tokens["access_token"], "1666707227246044402", here.secret_key]
    assert [secret for secret in secrets if secret in here.log] == []
