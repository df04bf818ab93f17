"""Tokens with time passed in: which pass, whose they are, which end, and how a refresh token or a code is spent."""

import base64
import hashlib
import sqlite3
from collections.abc import Iterator
from itertools import count

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.oauth.codes import Codes, Consent
from sandbox.metrika.oauth.tokens import TokenPair, TokenRefusal, Tokens, presented_token
from sandbox.metrika.refusals import INVALID_TOKEN, INVALID_TOKEN_401, refusal

NOW = 1_700_000_000.0
DEFAULT = Configuration()
STRICT = Configuration(strict_tokens=True)
CLIENT = {"client_id": "app", "client_secret": "s"}


@pytest.fixture(name="connection")
def _connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.row_factory = sqlite3.Row
    yield made
    made.close()


@pytest.fixture(name="codes")
def _codes(connection: sqlite3.Connection) -> Codes:
    numbers = count(1)
    return Codes(connection, lambda: f"code{next(numbers)}")


@pytest.fixture(name="tokens")
def _tokens(connection: sqlite3.Connection, codes: Codes) -> Tokens:
    numbers = count(1)
    return Tokens(connection, codes, lambda: f"token{next(numbers)}")


def refresh(
    tokens: Tokens, refresh_token: str, configuration: Configuration = DEFAULT, now: float = NOW
) -> TokenPair | TokenRefusal:
    return tokens.exchange(
        {"grant_type": "refresh_token", "refresh_token": refresh_token, **CLIENT}, now, configuration
    )


def redeem(tokens: Tokens, code: str, now: float = NOW, **over: str) -> TokenPair | TokenRefusal:
    return tokens.exchange({"grant_type": "authorization_code", "code": code, **CLIENT, **over}, now, DEFAULT)


def test_only_the_documented_authorization_scheme_carries_a_token() -> None:
    assert presented_token("OAuth abc") == "abc"
    assert [presented_token(header) for header in (None, "", "OAuth ", "Bearer abc", "abc")] == [None] * 5


def test_any_token_passes_unless_it_is_missing_revoked_or_expired(tokens: Tokens) -> None:
    configuration = Configuration(revoked_tokens=frozenset({"gone"}), access_token_seconds=60)
    pair = tokens.issue("shop", NOW, configuration)

    assert tokens.refuse("any", NOW, configuration) is None
    assert tokens.refuse(None, NOW, configuration) == refusal(
        "unauthorized", "Send the header 'Authorization: OAuth <token>'"
    )
    assert tokens.refuse("gone", NOW, configuration) == INVALID_TOKEN
    assert tokens.refuse(pair.access_token, NOW + 59, configuration) is None
    assert tokens.refuse(pair.access_token, NOW + 60, configuration) == INVALID_TOKEN


def test_a_bad_token_is_a_403_or_a_401_as_configured(tokens: Tokens) -> None:
    assert tokens.refuse("any", NOW, STRICT) == INVALID_TOKEN
    assert tokens.refuse("any", NOW, Configuration(strict_tokens=True, invalid_token_status=401)) == INVALID_TOKEN_401


def test_strictly_only_issued_access_tokens_pass(tokens: Tokens) -> None:
    pair = tokens.issue("shop", NOW, STRICT)

    assert tokens.refuse("any", NOW, STRICT) == INVALID_TOKEN
    assert tokens.refuse(pair.refresh_token, NOW, STRICT) == INVALID_TOKEN
    assert tokens.refuse(pair.access_token, NOW, STRICT) is None


def test_a_token_belongs_to_a_login_and_so_do_its_successors(tokens: Tokens) -> None:
    named = Configuration(logins={"y0_mine": "agency"})
    pair = tokens.issue("shop", NOW, DEFAULT)
    refreshed = refresh(tokens, pair.refresh_token)

    assert isinstance(refreshed, TokenPair)
    assert tokens.login_of(refreshed.access_token, DEFAULT) == "shop"
    assert tokens.login_of("y0_mine", named) == "agency"
    assert tokens.login_of("y0_a", named) != tokens.login_of("y0_b", named)
    assert "y0_a" not in tokens.login_of("y0_a", named)


def test_ending_a_login_ends_all_its_tokens(tokens: Tokens) -> None:
    shop, agency = tokens.issue("shop", NOW, DEFAULT), tokens.issue("agency", NOW, DEFAULT)

    assert tokens.end(login="shop") == 2
    assert tokens.refuse(shop.access_token, NOW, DEFAULT) == INVALID_TOKEN
    assert isinstance(refresh(tokens, shop.refresh_token), TokenRefusal)
    assert tokens.refuse(agency.access_token, NOW, DEFAULT) is None


def test_a_refresh_token_works_once(tokens: Tokens) -> None:
    pair = refresh(tokens, "first")
    assert isinstance(pair, TokenPair)
    assert pair.as_json() == {
        "access_token": "token1",
        "refresh_token": "token2",
        "expires_in": 31536000,
        "token_type": "bearer",
    }

    assert refresh(tokens, "first") == TokenRefusal(error="invalid_grant", description="expired_token")
    assert isinstance(refresh(tokens, pair.refresh_token), TokenPair)


def test_refresh_tokens_can_be_kept_expire_and_must_be_known_strictly(tokens: Tokens) -> None:
    kept = Configuration(refresh_tokens_rotate=False)
    assert isinstance(refresh(tokens, "first", kept), TokenPair)
    assert isinstance(refresh(tokens, "first", kept), TokenPair)
    assert isinstance(refresh(tokens, "unknown", STRICT), TokenRefusal)
    pair = tokens.issue("shop", NOW, Configuration(access_token_seconds=60))
    assert isinstance(refresh(tokens, pair.refresh_token, now=NOW + 60), TokenRefusal)


def test_a_refresh_may_keep_the_access_token_as_long_as_it_lives(tokens: Tokens) -> None:
    keeps = Configuration(refresh_keeps_access_token=True, access_token_seconds=60)
    pair = tokens.issue("shop", NOW, keeps)
    refreshed = refresh(tokens, pair.refresh_token, keeps, now=NOW + 20)

    assert isinstance(refreshed, TokenPair)
    assert refreshed.access_token == pair.access_token
    assert refreshed.refresh_token != pair.refresh_token
    assert refreshed.expires_in == 40


def test_a_code_is_good_for_one_exchange_by_its_client_in_its_time(tokens: Tokens, codes: Codes) -> None:
    code = codes.give(Consent(login="shop", client_id="app"), NOW + 600)

    assert redeem(tokens, code, client_id="other") == TokenRefusal(
        error="invalid_grant", description="The code was given to another client"
    )
    assert redeem(tokens, code, now=NOW + 600) == TokenRefusal(error="invalid_grant", description="Code has expired")
    pair = redeem(tokens, code)
    assert isinstance(pair, TokenPair)
    assert tokens.login_of(pair.access_token, DEFAULT) == "shop"
    assert redeem(tokens, code) == TokenRefusal(error="invalid_grant", description="Invalid code")


def test_a_code_with_a_challenge_needs_its_verifier_and_then_no_secret(tokens: Tokens, codes: Codes) -> None:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"verifier").digest()).rstrip(b"=").decode()
    consent = Consent(login="shop", client_id="app", challenge=challenge, challenge_method="S256")
    code = codes.give(consent, NOW + 600)

    assert isinstance(redeem(tokens, code), TokenRefusal)
    assert isinstance(redeem(tokens, code, code_verifier="guess"), TokenRefusal)
    form = {"grant_type": "authorization_code", "code": code, "client_id": "app", "code_verifier": "verifier"}
    assert isinstance(tokens.exchange(form, NOW, DEFAULT), TokenPair)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "r"}, "invalid_client"),
        (
            {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "x", "client_secret": "s"},
            "invalid_client",
        ),
        (
            {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "app", "client_secret": "x"},
            "invalid_client",
        ),
        ({"grant_type": "refresh_token", **CLIENT}, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "guess", **CLIENT}, "invalid_grant"),
    ],
)
def test_a_token_request_that_lacks_something_is_refused_by_name(
    tokens: Tokens, form: dict[str, str], error: str
) -> None:
    refused = tokens.exchange(form, NOW, Configuration(oauth_clients={"app": "s"}))

    assert isinstance(refused, TokenRefusal)
    assert refused.error == error
