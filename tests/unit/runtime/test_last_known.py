"""What a process remembers for the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.attention import Log
from runtime.last_known import LastKnown
from runtime.registry import RegistryUnavailable
from schemas.codec import Codec, SchemaText
from schemas.contracts import RAW_EVENTS, WEB_SESSIONS, Contract
from schemas.events import RawEvent


class Registry:
    """Gives ids, or no answer."""

    def __init__(self, schema_id: int | None) -> None:
        self.schema_id = schema_id

    def schema(self, schema_id: int) -> SchemaText:
        raise NotImplementedError

    def codec(self, contract: Contract[RawEvent]) -> Codec[RawEvent]:
        if self.schema_id is None:
            raise RegistryUnavailable("http://registry", "ConnectionError")
        return contract.codec(schema_id=self.schema_id, foreign_schema=self.schema)


def test_an_id_of_the_registry_outlives_its_answers(tmp_path: Path) -> None:
    known = LastKnown(tmp_path)
    assert known.codec(RAW_EVENTS, Registry(7)).schema_id == 7  # type: ignore[arg-type]  # a fake
    later = LastKnown(tmp_path)
    assert later.codec(RAW_EVENTS, Registry(None)).schema_id == 7  # type: ignore[arg-type]  # a fake
    assert later.codec(RAW_EVENTS, Registry(9)).schema_id == 9  # type: ignore[arg-type]  # the registry's word wins
    with pytest.raises(RegistryUnavailable):
        later.codec(WEB_SESSIONS, Registry(None))  # type: ignore[arg-type]  # a fake


def test_a_file_that_cannot_be_read_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "last-known.json").write_bytes(b"{")
    known = LastKnown(tmp_path)
    assert known.webhooks() == []
    known.remember_webhooks([b"\x00a"])
    assert LastKnown(tmp_path).webhooks() == [b"\x00a"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    LastKnown(tmp_path).remember_webhooks([b"sealed"])
    assert (tmp_path / "last-known.json").stat().st_mode & 0o777 == 0o600


def test_the_log_that_the_webhooks_were_read_from_is_kept_until_there_is_a_later_one(tmp_path: Path) -> None:
    log = Log(topic_id="x", begins={0: 0}, ends={0: 17})
    known = LastKnown(tmp_path)
    assert known.log() is None
    known.remember_webhooks([b"a"], log)
    assert LastKnown(tmp_path).log() == log
    known.remember_webhooks([b"a", b"b"])
    assert (LastKnown(tmp_path).log(), LastKnown(tmp_path).webhooks()) == (log, [b"a", b"b"])


@pytest.mark.parametrize(
    "kept", ["x", {}, {"topic_id": "x", "begins": 7, "ends": {}}, {"topic_id": 1, "begins": {"a": 1}}]
)
def test_a_log_that_is_none_is_as_good_as_none(tmp_path: Path, kept: object) -> None:
    (tmp_path / "last-known.json").write_text(json.dumps({"log": kept}))
    assert LastKnown(tmp_path).log() is None
