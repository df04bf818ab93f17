-- A counter's time zone is now also where its webhooks' times without an offset are local. Moscow's stood in every row
-- where nobody had said another one; that is NULL from here on, so that GOALPOST_TIMEZONE (Europe/Moscow unless it is
-- set) counts. Orders of such a counter are told in Moscow's time, as before.

DO $$
BEGIN
    -- Only once: what stands there later was said by somebody.
    IF EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'metrika_counters' AND column_name = 'time_zone'
          AND is_nullable = 'NO'
    ) THEN
        ALTER TABLE metrika_counters
            ALTER COLUMN time_zone DROP NOT NULL,
            ALTER COLUMN time_zone DROP DEFAULT;
        UPDATE metrika_counters SET time_zone = NULL WHERE time_zone = 'Europe/Moscow';
    END IF;
END
$$;
