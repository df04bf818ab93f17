"""Settings of the Metrika sink that could make it send a file twice are refused."""

from __future__ import annotations

import pytest

from runtime.sections import MetrikaSettings
from runtime.settings import BadSettings, load


@pytest.mark.parametrize(
    "environ",
    [
        {"GOALPOST_METRIKA_SETTLE_SECONDS": "119.9"},
        {"GOALPOST_METRIKA_ANSWER_SECONDS": "41"},
        {"GOALPOST_METRIKA_ANSWER_SECONDS": "10", "GOALPOST_METRIKA_SETTLE_SECONDS": "29"},
    ],
)
def test_a_list_is_never_trusted_before_the_slowest_request_is_over(environ: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match="three times GOALPOST_METRIKA_ANSWER_SECONDS"):
        load(MetrikaSettings, environ=environ)


def test_a_shorter_request_allows_a_shorter_settling() -> None:
    environ = {"GOALPOST_METRIKA_ANSWER_SECONDS": "10", "GOALPOST_METRIKA_SETTLE_SECONDS": "30"}
    (settings,) = load(MetrikaSettings, environ=environ)
    assert (settings.answer_seconds, settings.settle_seconds) == (10, 30)
