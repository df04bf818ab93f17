-- conversion_events: the audit trail of every change of status or stage, whoever made it (also by hand).
-- outcome_outbox: what Kafka still has to be told; written in the transaction that makes it true, deleted after the
-- broker has acknowledged, so that neither a crash nor an outage can lose or invent an outcome.

CREATE TABLE IF NOT EXISTS conversion_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversion_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    actor TEXT NOT NULL DEFAULT current_setting('application_name', true),
    status TEXT NOT NULL,
    stage TEXT NOT NULL,
    previous_stage TEXT,
    upload UUID,
    metrika_upload_id TEXT,
    error_class TEXT,
    error_message TEXT
);

CREATE INDEX IF NOT EXISTS idx_conversion_events_conversion ON conversion_events(conversion_id, id);

CREATE OR REPLACE FUNCTION record_conversion_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO conversion_events
        (conversion_id, status, stage, previous_stage, upload, metrika_upload_id, error_class, error_message)
    SELECT changed.id, changed.status, changed.stage, before.stage, changed.upload, changed.metrika_upload_id,
           changed.error_class, changed.error_message
    FROM changed JOIN before ON before.id = changed.id
    WHERE (changed.status, changed.stage) IS DISTINCT FROM (before.status, before.stage);
    RETURN NULL;
END
$$;

-- Once per statement, not per row: a batch of two thousand costs one insert. The first state needs no event: it is the
-- row itself (created_at).
CREATE OR REPLACE TRIGGER conversion_events_on_update
    AFTER UPDATE ON webhook_conversions
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_conversion_events();

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'conversion_events is append-only';
END
$$;

CREATE OR REPLACE TRIGGER conversion_events_append_only
    BEFORE UPDATE ON conversion_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE IF NOT EXISTS outcome_outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversion_id UUID NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('accepted', 'processed', 'not_linked', 'failed')),
    metrika_upload_id TEXT,
    error_class TEXT,
    error_message TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW()
);

ALTER TABLE yandex_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE metrika_counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE offline_webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_conversions ENABLE ROW LEVEL SECURITY;
ALTER TABLE metrika_uploads ENABLE ROW LEVEL SECURITY;
ALTER TABLE conversion_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE outcome_outbox ENABLE ROW LEVEL SECURITY;
