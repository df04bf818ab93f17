"""SQL of people who want a conversion uploaded again, and the real uploader: Metrika gets each once all the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from sandbox.stack import Addresses
from tests.integration.metrika_world import World, eventually, world

# Each tries to have what Metrika has, or may have, uploaded once more. %(id)s is one such conversion.
HOSTILE: Final = (
    "UPDATE webhook_conversions SET status = 'pending', stage = 'stored', upload = NULL",
    "UPDATE webhook_conversions SET status = 'pending', stage = 'stored', upload = NULL, upload_line = NULL, "
    "upload_second = NULL, metrika_upload_id = NULL, error_class = NULL",
    "UPDATE webhook_conversions SET stage = NULL, status = 'pending', metrika_upload_id = NULL",
    "UPDATE webhook_conversions SET status = 'error', stage = 'failed'",
    "UPDATE webhook_conversions SET status = 'pending', stage = 'batched'",
    "UPDATE webhook_conversions SET status = 'pending'",
    "UPDATE webhook_conversions SET stage = 'stored'",
    "UPDATE webhook_conversions SET id = gen_random_uuid() WHERE id = %(id)s",
    "UPDATE webhook_conversions SET upload = NULL",
    "UPDATE webhook_conversions SET upload_second = upload_second + 1",
    "UPDATE webhook_conversions SET price = price + 1, target = 'other', occurred_at = now()",
    "INSERT INTO webhook_conversions SELECT * FROM webhook_conversions WHERE id = %(id)s "
    "ON CONFLICT (id) DO UPDATE SET stage = 'stored', status = 'pending', upload = NULL",
    "WITH gone AS (DELETE FROM webhook_conversions WHERE id = %(id)s RETURNING *) SELECT id FROM gone",
    "MERGE INTO webhook_conversions AS old USING (SELECT %(id)s::uuid AS id) AS new ON old.id = new.id "
    "WHEN MATCHED THEN UPDATE SET stage = 'stored', status = 'pending', upload = NULL",
    "TRUNCATE webhook_conversions",
    "TRUNCATE metrika_uploads CASCADE",
    "UPDATE metrika_uploads SET state = 'prepared'",
    "UPDATE metrika_uploads SET state = 'prepared', maybe_taken = FALSE, attempts = 0, sent_at = NULL",
    "UPDATE metrika_uploads SET state = 'rejected'",
    "UPDATE metrika_uploads SET token = 'other'",
    "UPDATE metrika_uploads SET metrika_upload_id = NULL, state = 'unknown'",
    "UPDATE metrika_uploads SET sent_at = sent_at - interval '1 day', answered_at = NULL",
    "DELETE FROM metrika_uploads",
    "DELETE FROM conversion_events",
    "UPDATE conversion_events SET upload = NULL",
    "SET goalpost.retention = 'on'; DELETE FROM webhook_conversions",
    "SET goalpost.retention = 'on'; DELETE FROM metrika_uploads",
)
_GIVEN_UP: Final = "UPDATE webhook_conversions SET status = 'error', stage = 'failed'"


@pytest.fixture
def here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


@pytest.fixture
def console(here: World) -> Iterator[str]:
    """A role that may write everything, and owns nothing."""
    name = f"console_{uuid.uuid4().hex[:12]}"
    here.connection.execute(f"CREATE ROLE {name} BYPASSRLS".encode())
    here.connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}".encode())
    yield name
    here.connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def _done(here: World, role: str | None, statements: tuple[str, ...] = HOSTILE) -> list[str]:
    """Try every statement; return those that changed something."""
    done = []
    with psycopg.connect(here.database_url, autocommit=True) as person:
        if role is not None:
            person.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        row = person.execute("SELECT id FROM webhook_conversions WHERE stage <> 'stored' ORDER BY id").fetchone()
        assert row is not None
        for statement in statements:
            before = _standing(here)
            setting, _, action = statement.rpartition("; ")
            person.execute((setting or "SELECT").encode())
            with suppress(psycopg.errors.IntegrityError, psycopg.errors.RaiseException):
                person.execute(action.encode(), {"id": row[0]})
            if _standing(here) != before:
                done.append(statement)
            person.execute("RESET goalpost.retention")
    return done


def _standing(here: World) -> list[object]:
    return [
        here.query(
            "SELECT id, status, stage, upload, upload_line, upload_second, price FROM webhook_conversions ORDER BY 1"
        ),
        here.query("SELECT id, state, token, attempts, sent_at, maybe_taken FROM metrika_uploads ORDER BY 1"),
        here.query("SELECT count(*), count(upload) FROM conversion_events"),
    ]


def test_what_metrika_has_processed_is_never_uploaded_again(here: World, console: str) -> None:
    here.store(5)
    with here.sink():
        assert here.until_settled() == {"processed": 5}
        for role in (None, console):
            assert _done(here, role) == []
        here.store(1, visitor=10**15)
        eventually(here.stages, lambda stages: stages == {"processed": 6})
    here.assert_each_once(6)


def test_what_may_have_arrived_is_not_uploaded_again_before_metrika_has_been_asked(here: World, console: str) -> None:
    """The answer is lost, and the list cannot be had either: nobody knows whether the file has arrived."""
    here.store(5)
    here.script("cut_after_accept")
    here.script("503", match="list", times=None)
    with here.sink():
        eventually(here.uploads, lambda uploads: uploads.keys() == {"unknown"})
        for role in (None, console):
            assert _done(here, role, tuple(one for one in HOSTILE if one != _GIVEN_UP)) == []
        here.heal()
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)


def test_what_is_given_up_in_the_middle_of_its_upload_is_with_metrika_all_the_same(here: World) -> None:
    here.store(5)
    here.script("cut_after_accept")
    here.script("503", match="list", times=None)
    with here.sink():
        eventually(here.uploads, lambda uploads: uploads.keys() == {"unknown"})
        assert _done(here, None, (_GIVEN_UP, *HOSTILE[:2])) == [_GIVEN_UP]
        assert here.stages() == {"failed": 5}
        here.heal()
        eventually(here.stages, lambda stages: stages == {"processed": 5})
    here.assert_each_once(5)
