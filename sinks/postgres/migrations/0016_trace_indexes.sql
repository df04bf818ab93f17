-- By which `goalpost trace` finds conversions: session, ClientID, yclid, and the place in a topic. A table that is large
-- already would be kept from being written while it is built; for that one `goalpost migrate` builds it beside its
-- writers (sinks/postgres/indexes.py has the same definition), and `goalpost doctor` says so as long as it is missing.

DO $$
BEGIN
    IF pg_relation_size('webhook_conversions') < 64 * 1024 * 1024 THEN
        CREATE INDEX IF NOT EXISTS idx_webhook_conversions_trace ON webhook_conversions USING brin (
            session_id text_bloom_ops(n_distinct_per_range = 500, false_positive_rate = 0.001),
            client_id text_bloom_ops(n_distinct_per_range = 500, false_positive_rate = 0.001),
            yclid text_bloom_ops(n_distinct_per_range = 100, false_positive_rate = 0.001),
            raw_offset, conversion_offset
        ) WITH (pages_per_range = 64, autosummarize = on);
    END IF;
END
$$;
