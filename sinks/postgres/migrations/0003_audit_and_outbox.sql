-- conversion_events: the audit trail of every change of status or stage, whoever made it (also by hand).
-- outcome_outbox: what Kafka still has to be told; written in the transaction that makes it true, deleted after the
-- broker has acknowledged, so that neither a crash nor an outage can lose or invent an outcome.
-- analytics_row_versions: which session record each user_analytics row shows that goalpost itself writes, so that an
-- older record that comes later changes nothing.

CREATE TABLE IF NOT EXISTS conversion_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversion_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    actor TEXT NOT NULL DEFAULT current_setting('application_name', true),
    status TEXT NOT NULL,
    -- Without a stage: a change of a row that goalpost did not write.
    stage TEXT,
    previous_stage TEXT,
    upload UUID,
    metrika_upload_id TEXT,
    error_class TEXT,
    error_message TEXT
);

CREATE INDEX IF NOT EXISTS idx_conversion_events_conversion ON conversion_events(conversion_id, id);

-- With the owner's rights, so that the trail is complete whoever may update a conversion.
CREATE OR REPLACE FUNCTION record_conversion_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
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

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'conversion_events is append-only';
END
$$;

-- A function with its owner's rights must not look up tables in a schema that its caller chooses.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION record_conversion_events() SET search_path = %I, pg_temp', current_schema());
END
$$;
REVOKE ALL ON FUNCTION record_conversion_events() FROM PUBLIC;
-- Transition tables have no statistics: a plan that was cached for one row would join twenty thousand row by row.
ALTER FUNCTION record_conversion_events() SET enable_nestloop = off;

-- Once per statement, not per row: a batch of two thousand costs one insert. The first state needs no event: it is the
-- row itself (created_at).
CREATE OR REPLACE TRIGGER conversion_events_on_update
    AFTER UPDATE ON webhook_conversions
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION record_conversion_events();

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

CREATE TABLE IF NOT EXISTS analytics_row_versions (
    row_id TEXT PRIMARY KEY,
    last_visit_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    digest TEXT NOT NULL
);
