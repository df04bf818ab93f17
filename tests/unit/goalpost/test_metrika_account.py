"""Whose Metrika a sandbox uploads to, for every combination of settings; docs/metrika.md has the same table."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

import pytest

from goalpost.metrika_account import (
    NO_TOKEN_YET,
    SIMULATED_COUNTER,
    SIMULATED_TOKEN,
    MetrikaAccount,
    metrika_account,
)
from runtime.settings import BadSettings

ROOT: Final = Path(__file__).parents[3]
SIMULATOR: Final = "http://127.0.0.1:1"
REAL: Final = {"METRIKA_API_URL": "https://api-metrika.yandex.net"}
DOUBLE: Final = {"METRIKA_API_URL": "http://127.0.0.1:7777"}
YANDEX_OAUTH: Final = "https://oauth.yandex.ru"
OTHER_OAUTH: Final = {"YANDEX_OAUTH_URL": "http://127.0.0.1:8888"}
ACCESS: Final = {"METRIKA_ACCESS_TOKEN": "access"}
REFRESH: Final = {"METRIKA_REFRESH_TOKEN": "refresh"}
CLIENT: Final = {"YANDEX_CLIENT_ID": "id", "YANDEX_CLIENT_SECRET": "secret"}
COUNTER: Final = {"METRIKA_COUNTER_ID": "42"}
EVERYTHING: Final[tuple[tuple[dict[str, str], ...], ...]] = (
    ({}, REAL, DOUBLE),
    *(({}, one) for one in (OTHER_OAUTH, ACCESS, REFRESH, CLIENT, COUNTER)),
)


def chosen(*given: dict[str, str]) -> MetrikaAccount:
    environ = {name: value for one in given for name, value in one.items()}
    return metrika_account(environ, simulator_url=SIMULATOR)


# What is set, then: where uploads go, who renews tokens, with which access token, for which counter.
CASES: Final = {
    "nothing": ((), SIMULATOR, SIMULATOR, SIMULATED_TOKEN, SIMULATED_COUNTER),
    "a counter alone": ((COUNTER,), SIMULATOR, SIMULATOR, SIMULATED_TOKEN, 42),
    "a token without Metrika": ((ACCESS, COUNTER), SIMULATOR, SIMULATOR, "access", 42),
    "a refresh token without Metrika": ((REFRESH, CLIENT), SIMULATOR, SIMULATOR, SIMULATED_TOKEN, SIMULATED_COUNTER),
    "OAuth alone": ((OTHER_OAUTH,), SIMULATOR, "http://127.0.0.1:8888", SIMULATED_TOKEN, SIMULATED_COUNTER),
    "Metrika with a token": ((REAL, ACCESS, COUNTER), REAL["METRIKA_API_URL"], YANDEX_OAUTH, "access", 42),
    "Metrika with both tokens": (
        (REAL, ACCESS, REFRESH, CLIENT, COUNTER),
        REAL["METRIKA_API_URL"],
        YANDEX_OAUTH,
        "access",
        42,
    ),
    "Metrika with a refresh token": (
        (REAL, REFRESH, CLIENT, COUNTER),
        REAL["METRIKA_API_URL"],
        YANDEX_OAUTH,
        NO_TOKEN_YET,
        42,
    ),
    "Metrika with another OAuth": (
        (REAL, ACCESS, COUNTER, OTHER_OAUTH),
        REAL["METRIKA_API_URL"],
        "http://127.0.0.1:8888",
        "access",
        42,
    ),
    "a double of Metrika": ((DOUBLE,), "http://127.0.0.1:7777", YANDEX_OAUTH, SIMULATED_TOKEN, SIMULATED_COUNTER),
    "a double with a refresh token": (
        (DOUBLE, REFRESH, CLIENT),
        "http://127.0.0.1:7777",
        YANDEX_OAUTH,
        NO_TOKEN_YET,
        SIMULATED_COUNTER,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_set_decides_where_uploads_go_who_renews_tokens_and_as_whom(case: str) -> None:
    given, api_url, oauth_url, token, counter = CASES[case]
    account = chosen(*given)

    assert (account.api_url, account.oauth_url) == (api_url, oauth_url)
    assert (account.access_token, account.counter_id) == (token, counter)
    assert account.simulated is (api_url == SIMULATOR)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((REAL,), {"METRIKA_ACCESS_TOKEN", "METRIKA_COUNTER_ID"}),
        ((REAL, ACCESS), {"METRIKA_COUNTER_ID"}),
        ((REAL, COUNTER), {"METRIKA_ACCESS_TOKEN"}),
        ((REAL, REFRESH, COUNTER), {"METRIKA_REFRESH_TOKEN"}),
        ((REAL, REFRESH), {"METRIKA_REFRESH_TOKEN", "METRIKA_COUNTER_ID"}),
    ],
)
def test_metrika_itself_is_never_asked_as_nobody_or_for_somebody_elses_counter(
    given: tuple[dict[str, str], ...], named: set[str]
) -> None:
    with pytest.raises(BadSettings) as refused:
        chosen(*given)

    assert {problem.split(":")[0] for problem in refused.value.problems} == named


@pytest.mark.parametrize("given", list(itertools.product(*EVERYTHING)))
def test_the_simulator_is_named_only_where_it_runs_and_nothing_simulated_reaches_yandex(
    given: tuple[dict[str, str], ...],
) -> None:
    try:
        account = chosen(*given)
    except BadSettings:
        assert REAL in given
        return
    assert account.simulated is (account.api_url == SIMULATOR)
    if not account.simulated:
        assert account.oauth_url != SIMULATOR
    if REAL in given:
        assert account.access_token != SIMULATED_TOKEN
        assert account.counter_id != SIMULATED_COUNTER


def test_a_token_that_goes_nowhere_is_said() -> None:
    assert "go to the simulator" in str(chosen(ACCESS, COUNTER).remark)
    assert "will not be renewed" in str(chosen(REAL, ACCESS, REFRESH, COUNTER).remark)
    assert chosen(REAL, ACCESS, REFRESH, CLIENT, COUNTER).remark is None
    assert chosen().remark is None


def test_the_page_of_metrika_tells_every_setting_of_the_table() -> None:
    page = (ROOT / "docs" / "metrika.md").read_text(encoding="utf-8")
    told = page.partition("## Which Metrika `make up` uses")[2].partition("\n## ")[0]

    for name in {name for one in (REAL, OTHER_OAUTH, ACCESS, REFRESH, CLIENT, COUNTER) for name in one}:
        assert f"`{name}`" in told
