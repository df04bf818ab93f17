"""A consumed message becomes a plain value, whatever its producer has put into it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.kafka import incoming


def _message(headers: Any) -> Any:
    def listed() -> Any:
        if isinstance(headers, Exception):
            raise headers
        return headers

    return cast(
        Any,
        SimpleNamespace(
            topic=lambda: "t",
            partition=lambda: 1,
            offset=lambda: 2,
            timestamp=lambda: (0, -1),
            key=lambda: None,
            value=lambda: None,
            headers=listed,
        ),
    )


@pytest.mark.parametrize(
    "failure", [SystemError("returned a result with an exception set"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")]
)
def test_a_header_name_that_the_library_cannot_say_costs_the_headers_and_no_more(failure: Exception) -> None:
    record = incoming(_message(failure))

    assert (record.topic, record.partition, record.offset, record.headers) == ("t", 1, 2, ())


def test_doubled_and_empty_headers_stay() -> None:
    assert incoming(_message([("a", None), ("a", b""), ("a", b"1")])).headers == (("a", None), ("a", b""), ("a", b"1"))
    assert incoming(_message(None)).headers == ()
