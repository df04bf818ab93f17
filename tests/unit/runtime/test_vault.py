"""Secrets at rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.failures import Fatal
from runtime.vault import Vault, generate_key, hash_of


@given(st.text())
def test_what_is_sealed_opens_again_and_shows_nothing(secret: str) -> None:
    vault = Vault(generate_key())
    sealed = vault.seal(secret)
    assert vault.open(sealed) == secret
    assert len(secret) < 4 or secret not in sealed


def test_the_old_key_behind_the_new_one_still_opens() -> None:
    old, new = generate_key(), generate_key()
    sealed = Vault(old).seal("token")
    assert Vault(f"{new}, {old}").open(sealed) == "token"
    with pytest.raises(Fatal, match="behind the"):
        Vault(new).open(sealed)


def test_a_wrong_key_is_refused_with_the_remedy_and_not_quoted() -> None:
    with pytest.raises(Fatal, match="goalpost admin keys generate") as raised:
        Vault("hunter2")
    assert "hunter2" not in str(raised.value)


def test_equal_secrets_have_equal_hashes_and_different_ones_do_not() -> None:
    assert hash_of("a") == hash_of("a") != hash_of("b")


def test_what_is_sealed_under_an_older_key_or_not_at_all_is_not_current() -> None:
    old, new = generate_key(), generate_key()
    rotating = Vault(f"{new},{old}")
    assert rotating.is_current(rotating.seal("token"))
    assert not rotating.is_current(Vault(old).seal("token"))
    assert not rotating.is_current("token")
    assert (Vault.is_sealed("token"), Vault.is_sealed(rotating.seal("token"))) == (False, True)
