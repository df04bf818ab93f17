-- A conversion may be stored, and uploaded, before its session is known, and the same order may come again with another
-- amount. Neither ever takes a stored conversion back to an earlier stage, and neither changes what it was uploaded with.

-- conversion_events.what: NULL for a change of status or stage; session_came: its session came after it was stored;
-- amount_changed: it came again with another amount. `reason` says it in a sentence.
ALTER TABLE conversion_events ADD COLUMN IF NOT EXISTS what TEXT;

-- A correction is a row of its own: another amount for the conversion that `corrects` names, uploaded once with the same
-- identifier, goal and second after that one has been processed. No foreign key: retention deletes rows in any order.
ALTER TABLE webhook_conversions ADD COLUMN IF NOT EXISTS corrects UUID;

CREATE INDEX IF NOT EXISTS idx_webhook_conversions_corrects ON webhook_conversions(corrects) WHERE corrects IS NOT NULL;

-- Without what it corrects a correction would be uploaded as a conversion of its own.
CREATE OR REPLACE FUNCTION goalpost_keep_corrects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'conversion %: what corrects another one stays what it is; to take it out while it is stored, set its '
        'status to error', OLD.id;
END
$$;

CREATE OR REPLACE TRIGGER conversion_corrects
    BEFORE UPDATE OF corrects ON webhook_conversions FOR EACH ROW WHEN (NEW.corrects IS DISTINCT FROM OLD.corrects)
    EXECUTE FUNCTION goalpost_keep_corrects();
REVOKE ALL ON FUNCTION goalpost_keep_corrects() FROM PUBLIC;

-- The amounts that a conversion came again with, each once. The first one is in the conversion's own row: its repeats are
-- no changes, in whatever order they come. An empty currency is none. Retention deletes them with the row.
CREATE TABLE IF NOT EXISTS conversion_amounts (
    conversion_id UUID NOT NULL,
    price NUMERIC(18, 4) NOT NULL,
    currency TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('ignored', 'lettered', 'corrected')),
    -- When the webhook service received it, and where it first stood in crm.conversions: that record, and no other, becomes
    -- the dead letter, also when it is read again after a crash.
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    conversion_partition INT NOT NULL,
    conversion_offset BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    PRIMARY KEY (conversion_id, price, currency)
);

ALTER TABLE conversion_amounts ENABLE ROW LEVEL SECURITY;
DO $$
BEGIN
    IF to_regprocedure('goalpost_close_access(text[], text[])') IS NOT NULL THEN
        PERFORM goalpost_close_access(ARRAY['conversion_amounts'], ARRAY['goalpost_keep_corrects']);
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN
        REVOKE ALL ON TABLE conversion_amounts FROM anon;
    END IF;
END
$$;
