-- By which `goalpost trace` finds conversions: session, ClientID, yclid, and the place in a topic. A table that is large
-- already would be kept from being written while they are built; for that one `goalpost migrate` builds them beside its
-- writers (sinks/postgres/indexes.py), and `goalpost doctor` says so as long as they are missing.

DO $$
BEGIN
    IF pg_relation_size('webhook_conversions') < 64 * 1024 * 1024 THEN
        CREATE INDEX IF NOT EXISTS idx_webhook_conversions_session ON webhook_conversions USING hash (session_id);
        CREATE INDEX IF NOT EXISTS idx_webhook_conversions_client ON webhook_conversions USING hash (client_id);
        CREATE INDEX IF NOT EXISTS idx_webhook_conversions_yclid ON webhook_conversions USING hash (yclid);
        CREATE INDEX IF NOT EXISTS idx_webhook_conversions_places
            ON webhook_conversions USING brin (raw_offset, conversion_offset);
    END IF;
END
$$;
