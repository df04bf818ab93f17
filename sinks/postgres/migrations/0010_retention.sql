-- The audit trail says why, and nothing but `goalpost retention` may take from it. A conversion whose personal data is
-- gone says since when.

ALTER TABLE conversion_events
    -- What a person or a command says about a change: SET LOCAL goalpost.reason = '...'.
    ADD COLUMN IF NOT EXISTS reason TEXT DEFAULT nullif(current_setting('goalpost.reason', true), '');

ALTER TABLE webhook_conversions
    -- Hashed as Metrika's CRM orders want them; NULL unless the webhook uploads orders.
    ADD COLUMN IF NOT EXISTS email_md5 TEXT,
    ADD COLUMN IF NOT EXISTS phone_md5 TEXT,
    ADD COLUMN IF NOT EXISTS anonymised_at TIMESTAMP WITH TIME ZONE;

CREATE INDEX IF NOT EXISTS idx_webhook_conversions_received ON webhook_conversions(received_at) WHERE stage IS NOT NULL;

-- The rule holds for the owner too; retention says aloud that it means it (goalpost.retention), within its transaction.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('goalpost.retention', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'conversion_events is append-only';
END
$$;

-- A statement-level BEFORE trigger's result is ignored: returning lets the statement go on.
CREATE OR REPLACE TRIGGER conversion_events_no_delete
    BEFORE DELETE ON conversion_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE TRIGGER conversion_events_no_truncate
    BEFORE TRUNCATE ON conversion_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
