"""What Postgres' error codes mean, and that its words about people's data stay with it."""

from __future__ import annotations

import psycopg
import pytest

from runtime.failures import Fatal, Transient
from runtime.postgres import BadAddress
from sinks.postgres.connection import (
    BadData,
    Contention,
    Misconfigured,
    PostgresUnavailable,
    connect,
    translated_errors,
)
from sinks.postgres.trouble import Trouble, trouble_of


@pytest.mark.parametrize(
    ("sqlstate", "trouble"),
    [
        (None, Trouble.OUTAGE),
        ("08006", Trouble.OUTAGE),
        ("53100", Trouble.OUTAGE),  # disk full
        ("57P01", Trouble.OUTAGE),  # shut down
        ("57014", Trouble.OUTAGE),  # statement timeout
        ("25006", Trouble.OUTAGE),  # became a replica
        ("40P01", Trouble.CONTENTION),
        ("40001", Trouble.CONTENTION),
        ("55P03", Trouble.CONTENTION),
        ("22P02", Trouble.BAD_DATA),
        ("22P05", Trouble.BAD_DATA),
        ("23503", Trouble.BAD_DATA),
        ("54000", Trouble.BAD_DATA),
        ("P0001", Trouble.BAD_DATA),
        ("42P01", Trouble.MISCONFIGURED),
        ("42501", Trouble.MISCONFIGURED),
        ("42703", Trouble.MISCONFIGURED),
        ("XX000", Trouble.MISCONFIGURED),
    ],
)
def test_a_code_says_whether_to_wait_to_repeat_to_refuse_or_to_stop(sqlstate: str | None, trouble: Trouble) -> None:
    assert trouble_of(sqlstate) is trouble


@pytest.mark.parametrize(
    ("error", "ours", "kind"),
    [
        (psycopg.OperationalError("gone"), PostgresUnavailable, Transient),
        (psycopg.InterfaceError("closed"), PostgresUnavailable, Transient),
        (psycopg.errors.DeadlockDetected(), Contention, Transient),
        (psycopg.errors.UndefinedTable(), Misconfigured, Fatal),
        (psycopg.errors.ForeignKeyViolation(), BadData, BadData),
        (psycopg.DataError("NUL"), BadData, BadData),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), BadData, BadData),
        (OverflowError(), BadData, BadData),
    ],
)
def test_errors_of_the_driver_become_ours(error: Exception, ours: type[Exception], kind: type[Exception]) -> None:
    with pytest.raises(ours) as caught, translated_errors():
        raise error
    assert isinstance(caught.value, kind)


def test_what_postgres_quotes_from_the_data_is_not_repeated() -> None:
    error = psycopg.errors.InvalidTextRepresentation('invalid input syntax for type uuid: "+7 900 000-00-00"')
    with pytest.raises(BadData) as caught, translated_errors():
        raise error
    assert str(caught.value) == "InvalidTextRepresentation 22P02"


def test_a_malformed_address_is_refused_without_showing_its_password() -> None:
    with pytest.raises(BadAddress) as caught:
        connect("postgres//user:hunter2@host/db", application_name="test")
    assert "hunter2" not in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)
