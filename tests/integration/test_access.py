"""Nothing of goalpost's for Supabase's public roles: every object that the migrations make, every right there is."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from sandbox.stack import Addresses
from sinks.postgres.migrate import migrate, migrations
from tests.sink_material import fresh_database, opened, register_webhook

STRANGERS: Final = ("anon", "authenticated")
_KINDS: Final = ("TABLES", "SEQUENCES", "FUNCTIONS", "TYPES")
# What Supabase gives by default, in the schema and everywhere, and a site with things of its own.
SUPABASE: Final = (
    *(
        f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        for role in (*STRANGERS, "service_role")
    ),
    "GRANT USAGE, CREATE ON SCHEMA public TO anon, authenticated, service_role",
    *(
        f"ALTER DEFAULT PRIVILEGES {where} GRANT ALL ON {kind} TO anon, authenticated, service_role"
        for kind in _KINDS
        for where in ("IN SCHEMA public", "")
    ),
    "CREATE SCHEMA auth",
    "CREATE TABLE auth.users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text)",
    "CREATE TABLE own_notes (id bigserial PRIMARY KEY, note text)",
    "CREATE FUNCTION own_function() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)
# Of each kind of object: which are there, and every right of a role on one, as Postgres itself answers.
RIGHTS: Final[dict[str, tuple[str, str]]] = {
    "table": (
        "SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace = 'public'::regnamespace",
        """
        SELECT right_ FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
            || CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] END) AS right_
        WHERE has_table_privilege(%(role)s, %(oid)s::oid, right_)
           OR (right_ IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
               AND has_any_column_privilege(%(role)s, %(oid)s::oid, right_))
        """,
    ),
    "sequence": (
        "SELECT oid FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace",
        """
        SELECT right_ FROM unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS right_
        WHERE has_sequence_privilege(%(role)s, %(oid)s::oid, right_)
        """,
    ),
    "function": (
        "SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "SELECT 'EXECUTE' WHERE has_function_privilege(%(role)s, %(oid)s::oid, 'EXECUTE')",
    ),
    "type": (
        "SELECT oid FROM pg_type WHERE typnamespace = 'public'::regnamespace",
        "SELECT 'USAGE' WHERE has_type_privilege(%(role)s, %(oid)s::oid, 'USAGE')",
    ),
}


@dataclass(kw_only=True)
class Site:
    """A database like Supabase's; ``own`` are the objects that were there before goalpost."""

    url: str
    own: set[tuple[str, int]]

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def rights(self, *, of_site: bool = False, roles: tuple[str, ...] = STRANGERS) -> list[tuple[str, str, str]]:
        """Role, object and right, for every right on what is goalpost's, or on what is the site's."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = []
            for kind, oid in sorted(_objects(connection)):
                if ((kind, oid) in self.own) != of_site:
                    continue
                for role in roles:
                    for (right,) in connection.execute(RIGHTS[kind][1].encode(), {"role": role, "oid": oid}):
                        found.append((role, f"{kind} {_name(connection, kind, oid)}", str(right)))
            return found


def _objects(connection: psycopg.Connection[Any]) -> set[tuple[str, int]]:
    return {(kind, oid) for kind, (query, _) in RIGHTS.items() for (oid,) in connection.execute(query.encode())}


def _name(connection: psycopg.Connection[Any], kind: str, oid: int) -> str:
    alias = {"function": "regprocedure", "type": "regtype"}.get(kind, "regclass")
    row = connection.execute(f"SELECT {oid}::{alias}::text".encode()).fetchone()
    return str(row and row[0])


@pytest.fixture
def site(stack: Addresses) -> Iterator[Site]:
    with fresh_database(stack.database_url, *SUPABASE, migrated=False) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            own = _objects(connection)
        yield Site(url=url, own=own)


def by_goalpost(site: Site) -> None:
    """As `goalpost migrate` does."""
    migrate(site.url, lambda _: None)


def by_the_supabase_cli(site: Site) -> None:
    """The files alone, each in a transaction."""
    for migration in migrations():
        with psycopg.connect(site.url) as connection:
            connection.execute(migration.sql.encode())


@pytest.mark.parametrize("migrated", [by_goalpost, by_the_supabase_cli])
def test_the_public_roles_have_no_right_on_anything_that_the_migrations_make(
    site: Site, migrated: Callable[[Site], None]
) -> None:
    migrated(site)
    assert site.rights() == []


def test_what_a_site_grants_on_everything_is_taken_back_by_the_next_run(site: Site) -> None:
    by_goalpost(site)
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
        site.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO anon, authenticated, PUBLIC")
    site.execute("GRANT SELECT (access_token), UPDATE (name) ON yandex_accounts TO authenticated")
    site.execute("GRANT ALL ON TYPE webhook_conversions TO PUBLIC")
    site.execute("REVOKE ALL ON user_analytics FROM anon, authenticated, PUBLIC")
    assert len(site.rights()) > 200
    by_goalpost(site)
    assert site.rights() == []


def test_a_table_of_a_later_migration_is_closed_although_it_says_nothing_about_it(site: Site) -> None:
    later = type(migrations()[0])(
        version="9999",
        name="later",
        sql="CREATE TABLE IF NOT EXISTS later (id bigserial PRIMARY KEY);\n"
        "CREATE OR REPLACE FUNCTION later_on() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
    )
    migrate(site.url, lambda _: None, (*migrations(), later))
    assert site.rights() == []


def test_what_is_the_sites_stays_the_sites(site: Site) -> None:
    before = site.rights(of_site=True)
    site.execute(
        "CREATE TABLE user_analytics (id uuid PRIMARY KEY, session_id text, analytics_data jsonb, timestamp date)"
    )
    by_goalpost(site)
    by_goalpost(site)
    assert site.rights(of_site=True) == before
    kept = {right for _, name, right in site.rights() if name == "table user_analytics"}
    assert {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"} <= kept
    site.execute("CREATE TABLE own_next (id int)")
    assert ("anon", "table own_next", "SELECT") in site.rights()


def test_the_sites_backend_keeps_its_tables_and_no_function(site: Site) -> None:
    by_goalpost(site)
    rights = site.rights(roles=("service_role",))
    assert ("service_role", "table webhook_conversions", "UPDATE") in rights
    assert [one for one in rights if one[1].startswith("function")] == []


ATTACKS: Final = (
    ("authenticated", "TRUNCATE yandex_accounts, webhook_conversions CASCADE"),
    ("authenticated", "LOCK TABLE webhook_conversions IN ACCESS EXCLUSIVE MODE"),
    ("authenticated", "LOCK TABLE metrika_uploads IN ACCESS SHARE MODE"),
    (
        "authenticated",
        "CREATE TRIGGER t BEFORE UPDATE ON yandex_accounts FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    ),
    ("authenticated", "CREATE TABLE spy (id uuid REFERENCES webhook_conversions (id))"),
    ("authenticated", "SELECT count(*) FROM webhook_conversions"),
    ("anon", "TRUNCATE goalpost_migrations"),
    ("anon", "SELECT * FROM goalpost_migrations"),
    ("anon", "SELECT setval('conversion_events_id_seq', 1)"),
    ("anon", "SELECT nextval('outcome_outbox_id_seq')"),
    ("anon", "TRUNCATE user_analytics"),
    ("anon", "SELECT goalpost_close_access('{}', '{}')"),
    ("anon", "SELECT goalpost_may_be_at_metrika(gen_random_uuid(), gen_random_uuid())"),
    ("anon", "CREATE TABLE copy OF webhook_conversions"),
    ("anon", "CREATE FUNCTION sees(webhook_conversions) RETURNS text LANGUAGE sql AS 'SELECT 1'"),
)


@pytest.mark.parametrize(("role", "attack"), ATTACKS)
def test_what_the_public_roles_could_do_is_refused(site: Site, role: str, attack: str) -> None:
    by_goalpost(site)
    with psycopg.connect(site.url) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
            connection.execute(attack.encode())


def test_no_function_of_ours_can_be_put_on_somebodys_own_table(site: Site) -> None:
    """A trigger function with its owner's rights would write into our tables whatever the table of a stranger says."""
    by_goalpost(site)
    with psycopg.connect(site.url, autocommit=True) as connection:
        names = connection.execute(
            """
            SELECT proname FROM pg_proc
            WHERE prorettype = 'trigger'::regtype AND pronamespace = 'public'::regnamespace
            """
        ).fetchall()
        assert len(names) >= 9
        for role in (*STRANGERS, "service_role"):
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            connection.execute("CREATE TEMPORARY TABLE own (id uuid)")
            for (name,) in names:
                trigger = "CREATE TRIGGER t AFTER UPDATE ON own FOR EACH STATEMENT EXECUTE FUNCTION {}()"
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL(trigger).format(sql.Identifier(str(name))))
            connection.execute("DROP TABLE own")
            connection.execute("RESET ROLE")


def test_every_function_with_its_owners_rights_looks_tables_up_in_one_schema(site: Site) -> None:
    by_goalpost(site)
    with psycopg.connect(site.url) as connection:
        loose = connection.execute(
            """
            SELECT oid::regprocedure::text FROM pg_proc
            WHERE prosecdef AND pronamespace = 'public'::regnamespace
              AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=public, pg_temp']
            """
        ).fetchall()
    assert loose == []


def test_the_triggers_work_for_a_role_that_may_execute_nothing(site: Site) -> None:
    by_goalpost(site)
    with opened(site.url) as connection:
        registered = register_webhook(connection)
        event_id = str(uuid.uuid4())
        connection.execute("ALTER ROLE service_role BYPASSRLS")
        connection.execute("SET ROLE service_role")
        connection.execute(
            """
            INSERT INTO webhook_conversions (id, webhook_id, counter_id, payload, stage)
            VALUES (%s, %s, %s, '{}', 'stored')
            """,
            (event_id, registered.webhook_id, registered.counter_id),
        )
        moved = "UPDATE webhook_conversions SET stage = %s, status = %s WHERE id = %s"
        connection.execute(moved, ("processed", "sent", event_id))
        with pytest.raises(psycopg.errors.RaiseException, match="Metrika has it"):
            connection.execute(moved, ("stored", "pending", event_id))
        connection.execute("RESET ROLE")
        trail = connection.execute(
            "SELECT stage FROM conversion_events WHERE conversion_id = %s", (event_id,)
        ).fetchall()
    assert trail == [("processed",)]


def test_without_those_roles_there_is_nothing_to_close(stack: Addresses) -> None:
    with fresh_database(stack.database_url) as url, psycopg.connect(url) as connection:
        query = RIGHTS["function"][1].replace("%(role)s", "'public'").replace("%(oid)s::oid", "oid")
        found = connection.execute(
            f"SELECT proname FROM pg_proc WHERE proname LIKE 'goalpost%' AND EXISTS ({query})".encode()
        )
        assert found.fetchall() == []
