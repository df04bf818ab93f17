"""Times: every way to write one, in the zone of the sender, and what is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fields import BadField
from producers.times import FromFuture, moment, session_time, zone_named
from tests.unit.producers.parts import NOW_MS

MOSCOW = ZoneInfo("Europe/Moscow")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)  # 2026-09-21T14:13:20Z


def _ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]  # year first


def read(written: object, zone: ZoneInfo = MOSCOW) -> int | None:
    return moment({"v": written}, "v", now=NOW_MS, zone=zone)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-01T12:30:00+03:00", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01T12:30:00Z", _ms(2026, 3, 1, 12, 30)),
        ("2026-03-01T12:30:00 03:00", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30:00 +0300", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30:00 +03", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30:00\u22123:00", _ms(2026, 3, 1, 15, 30)),
        ("2026-03-01 12:30:00.123456+00", _ms(2026, 3, 1, 12, 30) + 123),
        ("2026-03-01T12:30:00.1234567Z", _ms(2026, 3, 1, 12, 30) + 123),
        ("2026-03-01T12:30:00.123456789123456789Z", _ms(2026, 3, 1, 12, 30) + 123),
        ("2026-03-01 12:30 UTC", _ms(2026, 3, 1, 12, 30)),
        ("2026-03-01 12:30 UTC+3", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30 GMT+0300", _ms(2026, 3, 1, 9, 30)),
        ("2026-03-01 12:30 MSK", _ms(2026, 3, 1, 9, 30)),
        ("01.03.2026 12:30:15 МСК", _ms(2026, 3, 1, 9, 30, 15)),
        ("01.03.2026 12:30 YEKT", _ms(2026, 3, 1, 7, 30)),
        ("2012-03-01 12:30 MSK", _ms(2012, 3, 1, 8, 30)),
        ("Sun, 01 Mar 2026 12:30:15 +0300", _ms(2026, 3, 1, 9, 30, 15)),
        ("Sun, 01 Mar 2026 12:30:15 GMT", _ms(2026, 3, 1, 12, 30, 15)),
        ("1 Mar 2026 12:30 EST", _ms(2026, 3, 1, 17, 30)),
        ("Sun Mar 01 2026 12:30:15 GMT+0300 (Moscow Standard Time)", _ms(2026, 3, 1, 9, 30, 15)),
        ("Sun Mar 01 2026 12:30:15 GMT+0300 (Москва, стандартное время)", _ms(2026, 3, 1, 9, 30, 15)),
        ("Sun Mar  1 12:30:15 MSK 2026", _ms(2026, 3, 1, 9, 30, 15)),
        (1_772_368_200, 1_772_368_200_000),
        (1_772_368_200_123, 1_772_368_200_123),
        (1_772_368_200_123_456, 1_772_368_200_123),
        ("1772368200", 1_772_368_200_000),
        (" 1772368200123 ", 1_772_368_200_123),
        ("1772368200123456", 1_772_368_200_123),
        ("1772368200123456789", 1_772_368_200_123),
        ("1772368200.5", 1_772_368_200_500),
        (1_772_368_200.25, 1_772_368_200_250),
    ],
)
def test_a_time_with_an_offset_is_the_same_in_every_zone(written: object, expected: int) -> None:
    for zone in (MOSCOW, ZoneInfo("Asia/Vladivostok"), ZoneInfo("America/New_York")):
        assert read(written, zone) == expected


@pytest.mark.parametrize(
    ("written", "local"),
    [
        ("2026-03-01T12:30:00", (12, 30)),
        ("2026-03-01 12:30:00", (12, 30)),
        ("2026-03-01 12:30:00.123456", (12, 30)),
        ("2026-3-1 9:05", (9, 5)),
        ("2026/03/01 12:30", (12, 30)),
        ("2026/03/01T12:30:00", (12, 30)),
        ("2026.03.01 12:30", (12, 30)),
        ("20260301T123000", (12, 30)),
        ("20260301123000", (12, 30)),
        ("202603011230", (12, 30)),
        ("1.3.2026 9:05", (9, 5)),
        ("01.03.2026 12:30", (12, 30)),
        ("01.03.2026, 12:30:00", (12, 30)),
        ("12:30 01.03.2026", (12, 30)),
        ("1 марта 2026 г. в 12:30", (12, 30)),
        ("1 мар. 2026 г., 12:30", (12, 30)),
        ("03/01/2026 3:05 PM", (15, 5)),
        ("3/1/2026, 3:05:00\u202fPM", (15, 5)),
        ("03/01/2026 12:00 AM", (0, 0)),
        ("03/01/2026 12:00 PM", (12, 0)),
        ("03/01/2026 3 p.m.", (15, 0)),
        ("Mar 1, 2026 3:05 pm", (15, 5)),
        ("March 1, 2026 15:05", (15, 5)),
        ("1 Mar 2026 15:05", (15, 5)),
        ("01-Mar-2026 15:05", (15, 5)),
        ("Sun, 1 Mar 2026 15:05:00", (15, 5)),
        ("\u200b2026-03-01 12:30\u200b", (12, 30)),
    ],
)
@pytest.mark.parametrize("zone", ["Europe/Moscow", "Asia/Yekaterinburg", "America/New_York", "UTC"])
def test_a_time_without_an_offset_is_local(written: str, local: tuple[int, int], zone: str) -> None:
    found = read(written, ZoneInfo(zone))
    assert found is not None
    at = datetime.fromtimestamp(found // 1000, ZoneInfo(zone))
    assert (at.year, at.month, at.day, at.hour, at.minute) == (2026, 3, 1, *local)


@pytest.mark.parametrize("written", ["14/03/2026 15:05", "03/14/2026 15:05", "14-03-2026 15:05", "03/14/2026 3:05 PM"])
def test_of_a_day_and_a_month_the_one_above_twelve_is_the_day(written: str) -> None:
    assert read(written) == _ms(2026, 3, 14, 12, 5)


@pytest.mark.parametrize("written", ["03/04/2026", "03/04/2026 15:05", "03-04-2026 15:05", "3/4/2026"])
def test_what_can_be_read_in_two_ways_is_refused_with_that_reason(written: str) -> None:
    with pytest.raises(BadField, match=r"^v can be read in two ways.*; send "):
        read(written)


@pytest.mark.parametrize(
    "written", ["2026-03-01", "20260301", "2026/03/01", "01.03.2026", "1 марта 2026", "Mar 1, 2026", "01-Mar-2026"]
)
def test_of_a_day_alone_its_end_in_the_zone_counts(written: str) -> None:
    assert read(written) == _ms(2026, 3, 1, 20, 59, 59)
    assert read(written, ZoneInfo("UTC")) == _ms(2026, 3, 1, 23, 59, 59)


def test_of_today_the_time_of_receipt_counts_so_that_nothing_lies_in_the_future() -> None:
    assert read("2026-09-21") == NOW_MS
    assert read("2026-09-20") == _ms(2026, 9, 20, 20, 59, 59)
    with pytest.raises(FromFuture):
        read("2026-09-22")
    assert read("2026-09-22", ZoneInfo("Pacific/Auckland")) == NOW_MS  # there it has begun


@pytest.mark.parametrize("ahead_seconds", [-1, 0, 1, 299, 300])
def test_a_clock_that_is_ahead_by_up_to_five_minutes_is_believed(ahead_seconds: int) -> None:
    at = NOW + timedelta(seconds=ahead_seconds)
    assert read(at.isoformat()) == NOW_MS + ahead_seconds * 1000


@pytest.mark.parametrize(
    "written",
    [
        (NOW + timedelta(seconds=301)).isoformat(), (NOW + timedelta(hours=3)).strftime("%d.%m.%Y %H:%M:%S +0000"),
        "2126-01-01", NOW_MS + 301_000, "2026-09-21 20:00", 10**13, "9999-12-31T23:59:59Z",
    ],
)  # fmt: skip
def test_a_time_in_the_future_is_told_apart_from_one_that_cannot_be_read(written: object) -> None:
    with pytest.raises(FromFuture, match=r"^v lies in the future \(\d{4}-.*\+00:00\); send "):
        read(written)


@pytest.mark.parametrize(
    "written",
    ["yesterday", "31.02.2026", "2026-13-01", "01.03.26", "1999-12-31T23:59:59Z", 0, -1, 5, "2026-03-01 25:00",
     "2026-03-01 12:60", "03/01/2026 13:05 PM", "03/01/2026 0:05 AM", "2026-03-01 12:30 CST", "2026-03-01 12:30 IST",
     "2026-03-01 12:30 EST", "12:30", "2026", "Foo 1 2026", "2026-03-01 12:30 foo", "1 Foo 2026", "0001-01-01",
     "0001-01-01T00:00:00+23:59", "2026-03-01T12:30:00+99:00", 1e300, True, [], {},
     "2026" + " " * 200 + "x", "1" * 129],
)  # fmt: skip
def test_a_time_that_cannot_be_is_refused_by_name(written: object) -> None:
    with pytest.raises(BadField, match=r"^occurred_at .*; send ") as refused:
        moment({"occurred_at": written}, "occurred_at", now=NOW_MS, zone=MOSCOW)
    assert not isinstance(refused.value, FromFuture)


def test_where_clocks_are_changed_a_local_time_is_read_the_same_way_each_time() -> None:
    # Two hours are called half past two when clocks go back: the first is meant. None is when they go forward.
    assert read("2025-10-26 02:30", BERLIN) == _ms(2025, 10, 26, 0, 30)
    assert read("2026-03-29 02:30", BERLIN) == _ms(2026, 3, 29, 1, 30)
    assert read("2026-03-29", BERLIN) == _ms(2026, 3, 29, 21, 59, 59)  # of a day that has 23 hours


@given(st.datetimes(datetime(2000, 1, 2), datetime(2026, 9, 1), timezones=st.timezones()))
def test_every_iso_time_keeps_its_instant(when: datetime) -> None:
    if (when.utcoffset() or timedelta()).total_seconds() % 60:
        return  # ISO 8601 has no seconds in offsets; those zones are local mean times of the 19th century
    expected = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert read(when.isoformat()) == expected
    assert session_time({"v": when.isoformat()}, "v", now=NOW_MS) == expected


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{1,4}[-/. ][0-9a-zа-я]{1,9}[-/. ][0-9]{1,4}.{0,20}", fullmatch=True))
def test_no_text_raises_anything_else(written: str) -> None:
    for zone in (MOSCOW, BERLIN):
        try:
            found = read(written, zone)
        except BadField:
            continue
        assert found is None or found <= NOW_MS + 300_000


def test_a_sessions_time_without_an_offset_is_utc_and_of_a_day_alone_its_beginning() -> None:
    assert session_time({"v": "2026-03-01 12:30:00"}, "v", now=NOW_MS) == _ms(2026, 3, 1, 12, 30)
    assert session_time({"v": "2026-03-01"}, "v", now=NOW_MS) == _ms(2026, 3, 1)
    with pytest.raises(BadField):
        session_time({"v": "2028-01-01"}, "v", now=NOW_MS)


def test_a_zone_that_is_not_known_here_does_not_stop_anything() -> None:
    assert zone_named("Asia/Yekaterinburg").key == "Asia/Yekaterinburg"
    for unknown in (None, "", "Mars/Olympus", "../../etc/passwd", "posix/\x00", "x" * 5000):
        assert zone_named(unknown, "Asia/Omsk").key == "Asia/Omsk"
        assert zone_named(unknown, unknown or "").key == "Europe/Moscow"
