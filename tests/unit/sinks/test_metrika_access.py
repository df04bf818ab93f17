"""How long an account stays closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.lifecycle import Stop
from runtime.vault import Vault, generate_key
from sinks.metrika.access import Access, Quotas
from sinks.metrika.renewal import Renewal
from sinks.metrika.tables.accounts import Account
from tests.unit.sinks.test_metrika_scheduling import counter

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ACCOUNT = Account(
    id=UUID(int=100),
    name="shop",
    yandex_uid="42",
    access_token="sealed:old",
    refresh_token=None,
    paused_reason=None,
    token_expires_at=None,
    refreshed_at=None,
    refreshing_since=None,
)
COUNTER = counter(sealed_token="sealed:old")


class Clock:
    """Stands at noon until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="access")
def _access(clock: Clock) -> Access:
    def nowhere() -> Any:
        raise AssertionError("nothing is stored here")

    renewal = Renewal(vault=Vault(generate_key()), oauth=None, connect=nowhere, clock=clock, stop=Stop())
    return Access(renewal=renewal, quotas=Quotas(parallel=3, per_second=30, per_day=5000), clock=clock, stop=Stop())


def test_an_account_is_closed_until_the_time_or_until_its_token_changes(access: Access, clock: Clock) -> None:
    assert not access.closed(COUNTER)
    access._close(ACCOUNT, NOON + timedelta(minutes=1))
    assert access.closed(COUNTER)
    assert not access.closed(replace(COUNTER, sealed_token="sealed:new"))
    clock.now += timedelta(minutes=1)
    assert not access.closed(COUNTER)


def test_a_paused_account_opens_when_somebody_resumes_it(access: Access) -> None:
    access._close(ACCOUNT, NOON + timedelta(minutes=15), paused=True)
    access.reopen_resumed([replace(COUNTER, paused=True)], read_at=NOON + timedelta(seconds=1))
    assert access.closed(COUNTER)
    access.reopen_resumed([COUNTER], read_at=NOON + timedelta(seconds=1))
    assert not access.closed(COUNTER)


def test_what_was_read_before_the_pause_does_not_end_it(access: Access) -> None:
    access._close(ACCOUNT, NOON + timedelta(minutes=15), paused=True)
    access.reopen_resumed([COUNTER], read_at=NOON - timedelta(milliseconds=1))
    assert access.closed(COUNTER)


def test_only_a_pause_ends_by_resuming(access: Access) -> None:
    access._close(ACCOUNT, NOON + timedelta(minutes=15))
    access.reopen_resumed([COUNTER], read_at=NOON + timedelta(seconds=1))
    assert access.closed(COUNTER)
