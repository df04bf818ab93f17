"""Settings: every mistake at once, and a reference that cannot go stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.sections import SECTIONS, DatabaseSettings, KafkaSettings, StreamSettings, VaultSettings
from runtime.settings import BadSettings, all_names, load, names_of

_REFERENCE = (Path(__file__).parents[3] / ".env.example").read_text(encoding="utf-8")
_SHOWN = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", _REFERENCE, flags=re.MULTILINE))
_COMPLETE = {"KAFKA_BOOTSTRAP_SERVERS": "localhost:9092", "SCHEMA_REGISTRY_URL": "http://localhost:8081"}


def test_the_reference_shows_every_setting_and_no_other() -> None:
    assert set(_SHOWN) == all_names()


def test_the_defaults_in_the_reference_are_the_codes_defaults() -> None:
    optional = {
        name: section.model_fields[field].default
        for section in SECTIONS
        for name, field in names_of(section).items()
        if not section.model_fields[field].is_required()
    }
    for name, default in optional.items():
        shown = {name: _SHOWN[name]} if _SHOWN[name] else {}
        section = next(section for section in SECTIONS if name in names_of(section))
        (loaded,) = load(section, environ={**_COMPLETE, "GOALPOST_SESSIONS_WRITE_KEY": "k", **shown})
        assert getattr(loaded, names_of(section)[name]) == default, name


def test_one_message_lists_every_missing_wrong_and_unknown_setting() -> None:
    wrong = {"KAFKA_BOOTSTRAP_SERVERS": "x", "GOALPOST_STREAM_PORT": "high", "GOALPOST_PARTITION": "8"}
    with pytest.raises(BadSettings) as raised:
        load(KafkaSettings, StreamSettings, environ=wrong)
    message = str(raised.value)
    assert "SCHEMA_REGISTRY_URL: is missing" in message
    assert "GOALPOST_STREAM_PORT: " in message
    assert "GOALPOST_PARTITION: there is no such setting; did you mean GOALPOST_PARTITIONS?" in message


def test_an_empty_setting_counts_as_absent() -> None:
    (stream,) = load(StreamSettings, environ={"GOALPOST_STREAM_PORT": ""})
    assert stream.port == 8081


def test_a_wrong_value_is_never_quoted_because_it_may_be_a_secret() -> None:
    with pytest.raises(BadSettings) as raised:
        load(KafkaSettings, environ={"KAFKA_BOOTSTRAP_SERVERS": "b", "SCHEMA_REGISTRY_URL": "user:hunter2@host"})
    assert "hunter2" not in str(raised.value)


def test_a_key_an_address_and_a_delay_that_cannot_work_are_in_the_same_message() -> None:
    wrong = {
        "GOALPOST_SECRET_KEY": "hunter2",
        "DATABASE_URL": "mysql://user:hunter2@host/database",
        "GOALPOST_WAITING_DELAYS_SECONDS": "10,nan,-1",
    }
    with pytest.raises(BadSettings) as raised:
        load(VaultSettings, DatabaseSettings, StreamSettings, environ=wrong)
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "GOALPOST_SECRET_KEY",
        "DATABASE_URL",
        "GOALPOST_WAITING_DELAYS_SECONDS.1",
        "GOALPOST_WAITING_DELAYS_SECONDS.2",
    ]
    assert "hunter2" not in str(raised.value)
