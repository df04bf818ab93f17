"""Tokens with time passed in: which pass, which end, and how a refresh token is spent."""

from itertools import count

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.refusals import INVALID_TOKEN, refusal
from sandbox.metrika.tokens import TokenPair, TokenRefusal, Tokens, presented_token

NOW = 1_700_000_000.0
DEFAULT = Configuration()


def new_tokens() -> Tokens:
    numbers = count(1)
    return Tokens(lambda: f"token{next(numbers)}")


def test_only_the_documented_authorization_scheme_carries_a_token() -> None:
    assert presented_token("OAuth abc") == "abc"
    assert [presented_token(header) for header in (None, "", "OAuth ", "Bearer abc", "abc")] == [None] * 5


def test_any_token_passes_unless_it_is_missing_revoked_or_expired() -> None:
    tokens, configuration = new_tokens(), Configuration(revoked_tokens=frozenset({"gone"}), access_token_seconds=60)
    pair = tokens.issue(NOW, configuration)

    assert tokens.refuse("any", NOW, configuration) is None
    assert tokens.refuse(None, NOW, configuration) == refusal(
        "unauthorized", "Send the header 'Authorization: OAuth <token>'"
    )
    assert tokens.refuse("gone", NOW, configuration) == INVALID_TOKEN
    assert tokens.refuse(pair.access_token, NOW + 59, configuration) is None
    assert tokens.refuse(pair.access_token, NOW + 60, configuration) == INVALID_TOKEN


def test_strictly_only_issued_tokens_pass() -> None:
    tokens, strict = new_tokens(), Configuration(strict_tokens=True)
    pair = tokens.issue(NOW, strict)

    assert tokens.refuse("any", NOW, strict) == INVALID_TOKEN
    assert tokens.refuse(pair.access_token, NOW, strict) is None


def refresh(tokens: Tokens, refresh_token: str, configuration: Configuration = DEFAULT) -> TokenPair | TokenRefusal:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": "i", "client_secret": "s"}
    return tokens.exchange(form, NOW, configuration)


def test_a_refresh_token_works_once() -> None:
    tokens = new_tokens()
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


def test_refresh_tokens_can_be_kept_and_must_be_known_strictly() -> None:
    tokens, kept = new_tokens(), Configuration(refresh_tokens_rotate=False)
    assert isinstance(refresh(tokens, "first", kept), TokenPair)
    assert isinstance(refresh(tokens, "first", kept), TokenPair)
    assert isinstance(refresh(tokens, "first", Configuration(strict_tokens=True)), TokenRefusal)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "r"}, "invalid_client"),
        ({"grant_type": "refresh_token", "client_id": "i", "client_secret": "s"}, "invalid_grant"),
    ],
)
def test_a_token_request_that_lacks_something_is_refused_by_name(form: dict[str, str], error: str) -> None:
    refused = new_tokens().exchange(form, NOW, DEFAULT)

    assert isinstance(refused, TokenRefusal)
    assert refused.error == error
