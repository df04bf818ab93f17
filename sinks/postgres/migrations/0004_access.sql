-- Nobody but the owner reads goalpost's tables: they hold tokens and visitors' ids. Row level security without a
-- policy shows no rows; Supabase's anonymous role, which is granted every new table by default, loses the grant as well.

DO $$
DECLARE
    ours CONSTANT TEXT[] := ARRAY['yandex_accounts', 'metrika_counters', 'offline_webhooks', 'webhook_conversions',
                                  'metrika_uploads', 'conversion_events', 'outcome_outbox', 'analytics_row_versions'];
    has_anon CONSTANT BOOLEAN := EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon');
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ours LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        IF has_anon THEN
            EXECUTE format('REVOKE ALL ON TABLE %I FROM anon', name);
        END IF;
    END LOOP;
END
$$;
