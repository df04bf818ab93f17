"""Times as people write them on the command line."""

from __future__ import annotations

import pytest

from goalpost.moment import iso, moment_ms

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2d", "2025-12-30T00:00:00.000Z"),
        ("36h", "2025-12-30T12:00:00.000Z"),
        ("30 m", "2025-12-31T23:30:00.000Z"),
        ("1w", "2025-12-25T00:00:00.000Z"),
        ("2025-12-01", "2025-12-01T00:00:00.000Z"),
        ("2025-12-01T12:00", "2025-12-01T12:00:00.000Z"),
        ("2025-12-01T12:00:00+03:00", "2025-12-01T09:00:00.000Z"),
        ("2025-12-01T12:00:00Z", "2025-12-01T12:00:00.000Z"),
    ],
)
def test_an_age_or_an_iso_time_is_a_moment(text: str, expected: str) -> None:
    assert iso(moment_ms(text, now_ms=NOW_MS)) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "13:00", "2025-13-01"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        moment_ms(text, now_ms=NOW_MS)
