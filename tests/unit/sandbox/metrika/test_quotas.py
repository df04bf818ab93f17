"""Quotas with time passed in: what Metrika documents, and switched off."""

import sqlite3
from collections.abc import Iterator

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.quotas import Quotas
from sandbox.metrika.refusals import Refusal

NOW = 1_700_000_000.0
DEFAULT = Configuration()


@pytest.fixture(name="connection")
def _connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def test_the_fourth_parallel_request_of_a_login_is_refused_until_one_leaves(connection: sqlite3.Connection) -> None:
    quotas = Quotas(connection)
    assert [quotas.enter("shop", 1, NOW, DEFAULT) for _ in range(3)] == [None] * 3

    refused = quotas.enter("shop", 2, NOW, DEFAULT)
    assert refused is not None
    assert (refused.error_type, refused.status) == ("quota_parallel_requests", 429)
    assert quotas.enter("another", 1, NOW, DEFAULT) is None

    quotas.leave("shop")
    assert quotas.enter("shop", 1, NOW, DEFAULT) is None


def test_the_31st_request_of_an_address_within_a_second_is_refused(connection: sqlite3.Connection) -> None:
    quotas = Quotas(connection)
    assert [quotas.refuse_address("a", NOW + n / 100, DEFAULT) for n in range(30)] == [None] * 30

    refused = quotas.refuse_address("a", NOW + 0.9, DEFAULT)
    assert refused is not None
    assert refused.error_type == "quota_requests_by_ip"
    assert quotas.refuse_address("b", NOW + 0.9, DEFAULT) is None
    assert quotas.refuse_address("a", NOW + 1.0, DEFAULT) is None


def ask(quotas: Quotas, now: float, configuration: Configuration, *, login: str = "shop", counter: int = 1) -> str:
    refused = quotas.enter(login, counter, now, configuration)
    if isinstance(refused, Refusal):
        return refused.error_type
    quotas.leave(login)
    return "served"


def test_the_daily_quota_starts_again_at_midnight_gmt_and_survives_a_restart(connection: sqlite3.Connection) -> None:
    configuration = Configuration(requests_per_day_per_login=2)
    quotas, midnight = Quotas(connection), NOW - NOW % 86_400 + 86_400

    assert [ask(quotas, midnight - 2, configuration), ask(quotas, midnight - 1, configuration)] == ["served"] * 2
    assert ask(quotas, midnight - 0.5, configuration) == "quota_requests_by_uid"
    again = Quotas(connection)
    assert ask(again, midnight - 0.4, configuration) == "quota_requests_by_uid"
    assert again.today(midnight - 0.3) == {"counter 1": 2, "login shop": 2}
    assert ask(again, midnight, configuration) == "served"


def test_a_counter_may_have_a_daily_quota_of_its_own(connection: sqlite3.Connection) -> None:
    configuration, quotas = Configuration(requests_per_day_per_counter=1), Quotas(connection)

    assert ask(quotas, NOW, configuration) == "served"
    assert ask(quotas, NOW, configuration, login="another") == "quota_requests_by_counter_id"
    assert ask(quotas, NOW, configuration, counter=2) == "served"


def test_quotas_can_answer_420_and_can_be_off(connection: sqlite3.Connection) -> None:
    quotas = Quotas(connection)
    refused = quotas.enter("shop", 1, NOW, Configuration(parallel_requests_per_login=0, quota_status=420))
    assert refused is not None
    assert refused.status == 420

    off = Configuration(requests_per_second_per_ip=None, parallel_requests_per_login=None)
    assert all(quotas.refuse_address("a", NOW, off) is None for _ in range(100))
    assert all(quotas.enter("shop", 1, NOW, off) is None for _ in range(100))
