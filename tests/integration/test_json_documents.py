"""Every command that has --json answers with one object, whose fields docs/commands.md names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest
from click.testing import CliRunner

from goalpost.cli import main
from runtime.vault import generate_key
from sandbox.stack import Addresses
from tests.sink_material import fresh_database
from tests.unit.goalpost.test_command_tree import WITH_JSON

# In an order in which each has something to answer about; with the fields that it answers at least.
COMMANDS: Final = (
    ("admin keys generate", (), {"key"}),
    (
        "admin account add",
        ("--name", "shop", "--yandex-uid", "1", "--access-token", "y0_t"),
        {"account_id", "name", "added"},
    ),
    ("admin account list", (), {"accounts"}),
    ("admin account resume", ("--account", "shop"), {"account_id", "was_paused"}),
    ("admin counter add", ("--counter-id", "12345678"), {"counter_id"}),
    ("admin counter change", ("12345678", "--time-zone", "Europe/Moscow"), {"counter_id"}),
    ("admin counter list", (), {"counters"}),
    ("admin counter goals", (), {"goals"}),
    ("admin counter resume", ("--counter-id", "12345678"), {"counter_id", "released"}),
    ("admin webhook add", ("--name", "crm", "--secret", "a-secret-of-some-length"), {"webhook_id", "name"}),
    ("admin webhook list", (), {"webhooks"}),
    ("admin webhook show", ("crm",), {"webhook_id", "counter_id"}),
    ("admin webhook change", ("crm", "--limit", "5"), {"webhook_id", "name"}),
    ("admin webhook rotate", ("crm", "--secret", "another-secret-of-some-length"), {"webhook_id"}),
    ("admin webhook publish", (), {"published", "removed"}),
    ("admin keys rotate", ("--dry-run",), {"accounts", "webhooks", "secrets", "dry_run", "problems"}),
    ("admin webhook remove", ("crm",), {"webhook_id"}),
    ("topics apply", (), {"differences"}),
    ("topics check", (), {"differences"}),
    ("dlq ls", (), {"groups"}),
    ("dlq runs", (), {"runs"}),
    ("dlq replay", (), {"letters", "run", "dry_run", "stopped", "counts"}),
    ("dlq discard", ("--reason", "x"), {"letters", "run", "dry_run", "stopped", "counts"}),
    ("quarantine ls", (), {"requests", "published"}),
    ("quarantine retry", (), {"requests", "published"}),
    ("ledger", (), {"holds", "equations"}),
    ("trace", ("nothing-of-that-name",), {"asked", "events", "truncated", "not_asked", "remark"}),
    ("doctor", (), {"ok", "findings"}),
    ("retention", (), {"applied", "touched"}),
    ("erase", ("--ym-uid", "1", "--reason", "x"), {"applied", "touched", "left", "gone_by"}),
    ("sessions backfill", ("--dry-run",), {"dry_run"}),
)
# They need a person or a whole pipeline; their own tests read what they print.
ELSEWHERE: Final = {"admin account login", "demo", "dlq show"}


@pytest.fixture(scope="module")
def environment(stack: Addresses) -> Iterator[dict[str, str]]:
    with fresh_database(stack.database_url) as url:
        yield {
            "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
            "DATABASE_URL": url,
            "GOALPOST_SECRET_KEY": generate_key(),
            "GOALPOST_SESSIONS_WRITE_KEY": "any",
            "GOALPOST_REPLICATION_FACTOR": "1",
            "METRIKA_API_URL": "http://127.0.0.1:1",
            "YANDEX_OAUTH_URL": "http://127.0.0.1:1",
        }


def test_no_command_with_json_is_left_out() -> None:
    assert {words for words, *_ in COMMANDS} | ELSEWHERE == WITH_JSON


def test_every_command_answers_with_one_object(environment: dict[str, str]) -> None:
    for words, options, fields in COMMANDS:
        answer = CliRunner().invoke(main, [*words.split(), *options, "--json"], env=environment, catch_exceptions=False)

        assert answer.exit_code in (0, 1), f"{words}: {answer.output}"
        content = json.loads(answer.stdout)  # one document, or this fails
        assert isinstance(content, dict), words
        assert fields <= content.keys(), words
