"""Quotas with time passed in: what Metrika documents, and switched off."""

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.quotas import Quotas
from sandbox.metrika.refusals import Refusal

NOW = 1_700_000_000.0
DEFAULT = Configuration()


def test_the_fourth_parallel_request_of_a_token_is_refused_until_one_leaves() -> None:
    quotas = Quotas()
    assert [quotas.enter("t", NOW, DEFAULT) for _ in range(3)] == [None] * 3

    refused = quotas.enter("t", NOW, DEFAULT)
    assert refused is not None
    assert (refused.error_type, refused.status) == ("quota_parallel_requests", 429)
    assert quotas.enter("another", NOW, DEFAULT) is None

    quotas.leave("t")
    assert quotas.enter("t", NOW, DEFAULT) is None


def test_the_31st_request_of_an_address_within_a_second_is_refused() -> None:
    quotas = Quotas()
    assert [quotas.refuse_address("a", NOW + n / 100, DEFAULT) for n in range(30)] == [None] * 30

    refused = quotas.refuse_address("a", NOW + 0.9, DEFAULT)
    assert refused is not None
    assert refused.error_type == "quota_requests_by_ip"
    assert quotas.refuse_address("b", NOW + 0.9, DEFAULT) is None
    assert quotas.refuse_address("a", NOW + 1.0, DEFAULT) is None


def test_the_daily_quota_starts_again_at_midnight_gmt() -> None:
    configuration = Configuration(requests_per_day_per_token=2)
    quotas, midnight = Quotas(), NOW - NOW % 86_400 + 86_400

    def ask(now: float) -> Refusal | None:
        refused = quotas.enter("t", now, configuration)
        if refused is None:
            quotas.leave("t")
        return refused

    assert [ask(midnight - 2), ask(midnight - 1)] == [None, None]
    refused = ask(midnight - 0.5)
    assert refused is not None
    assert refused.error_type == "quota_requests_by_uid"
    assert ask(midnight) is None


def test_quotas_can_answer_420_and_can_be_off() -> None:
    refused = Quotas().enter("t", NOW, Configuration(parallel_requests_per_token=0, quota_status=420))
    assert refused is not None
    assert refused.status == 420

    off, quotas = Configuration(requests_per_second_per_ip=None, parallel_requests_per_token=None), Quotas()
    assert all(quotas.refuse_address("a", NOW, off) is None for _ in range(100))
    assert all(quotas.enter("t", NOW, off) is None for _ in range(100))
