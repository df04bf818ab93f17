-- Supabase gives every new table, sequence and function to its public roles, anon and authenticated. Row level security
-- hides rows, but not from TRUNCATE, LOCK TABLE, CREATE TRIGGER or setval, and not what a function with its owner's
-- rights does. So nobody gets anything of ours: neither the two nor PUBLIC. service_role, the site's own backend, keeps
-- what it has been given, but for functions: nobody calls them but the triggers, and these ask for no right.
--
-- Defaults of the site stay as they are: its own next table is its own affair. Instead each `goalpost migrate` ends with
-- this, for everything that the migrations make. A later migration that makes something calls it as well, with the names,
-- for those who run the files with the Supabase CLI.

CREATE OR REPLACE FUNCTION goalpost_close_access(tables TEXT[], functions TEXT[]) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    -- Number 0 is PUBLIC. Whoever has nothing is not mentioned, so that a run that changes nothing needs no rights.
    strangers CONSTANT OID[] := ARRAY(SELECT 0::oid UNION
                                      SELECT oid FROM pg_roles WHERE rolname IN ('anon', 'authenticated'));
    backend CONSTANT OID[] := ARRAY(SELECT oid FROM pg_roles WHERE rolname = 'service_role');
    one RECORD;
BEGIN
    FOR one IN
        WITH ours AS (
            SELECT oid, reltype FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname = ANY(tables)
        ), objects AS (
            SELECT 'TABLE' AS kind, relation.oid::regclass::text AS name, acl.grantee
            FROM ours JOIN pg_class AS relation USING (oid),
                 LATERAL (SELECT relation.relacl AS listed UNION ALL
                          SELECT attacl FROM pg_attribute WHERE attrelid = relation.oid) AS granted,
                 aclexplode(granted.listed) AS acl
            UNION
            SELECT 'SEQUENCE', sequence.oid::regclass::text, acl.grantee
            FROM ours JOIN pg_depend AS link ON link.refobjid = ours.oid AND link.refclassid = 'pg_class'::regclass
                AND link.classid = 'pg_class'::regclass AND link.deptype IN ('a', 'i')
            JOIN pg_class AS sequence ON sequence.oid = link.objid AND sequence.relkind = 'S',
                 aclexplode(sequence.relacl) AS acl
            UNION
            SELECT 'TYPE', kind.oid::regtype::text, acl.grantee
            FROM ours JOIN pg_type AS kind ON kind.oid = ours.reltype,
                 aclexplode(coalesce(kind.typacl, acldefault('T', kind.typowner))) AS acl
            UNION
            SELECT 'FUNCTION', function.oid::regprocedure::text, acl.grantee
            FROM pg_proc AS function, aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) AS acl
            WHERE function.pronamespace = current_schema()::regnamespace AND function.proname = ANY(functions)
        )
        SELECT DISTINCT kind, name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee
        FROM objects WHERE grantee = ANY(strangers) OR (kind = 'FUNCTION' AND grantee = ANY(backend))
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', one.kind, one.name, one.grantee);
    END LOOP;
END
$$;

SELECT goalpost_close_access(
    ARRAY['yandex_accounts', 'metrika_counters', 'offline_webhooks', 'webhook_conversions', 'metrika_uploads',
          'conversion_events', 'outcome_outbox', 'analytics_row_versions', 'session_readings', 'user_analytics_changes',
          'metrika_request_days', 'metrika_request_pace', 'metrika_goals', 'goalpost_migrations'],
    ARRAY['record_conversion_events', 'refuse_change', 'record_session_change', 'goalpost_owner_says',
          'goalpost_may_be_at_metrika', 'goalpost_check_move', 'goalpost_check_insert', 'goalpost_check_delete',
          'goalpost_check_truncate', 'goalpost_check_upload', 'goalpost_check_upload_delete', 'goalpost_close_access']);

-- user_analytics is the site's, and so are its grants. Where goalpost has made it and nobody has changed it since, it is
-- closed once; whoever then lets browsers write into it grants that together with the policy that it needs.
DO $$
DECLARE
    role TEXT;
BEGIN
    IF EXISTS (
        SELECT FROM pg_class AS made
        WHERE made.oid = to_regclass('user_analytics') AND made.relrowsecurity AND made.relowner = current_user::regrole
          AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = made.oid)
          AND (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
               WHERE attrelid = made.oid AND attnum > 0 AND NOT attisdropped)
              = ARRAY['id', 'session_id', 'analytics_data', 'timestamp']
    ) THEN
        FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
            EXECUTE format('REVOKE ALL ON TABLE user_analytics FROM %I', role);
        END LOOP;
        REVOKE ALL ON TABLE user_analytics FROM PUBLIC;
        REVOKE ALL ON TYPE user_analytics FROM PUBLIC;
    END IF;
END
$$;
