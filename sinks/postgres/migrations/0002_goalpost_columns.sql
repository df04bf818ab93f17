-- What goalpost adds to the owner's tables. `status` keeps exactly pending / sent / error; `stage` is finer:
--   pending: stored, batched        sent: uploaded, processed, not_linked        error: failed
-- `stage` has no default: a row that goalpost did not write (older, or another program's) has none, and goalpost
-- neither uploads it nor changes it.

ALTER TABLE yandex_accounts
    ADD COLUMN IF NOT EXISTS name TEXT,
    ADD COLUMN IF NOT EXISTS paused_reason TEXT,
    ADD COLUMN IF NOT EXISTS refreshed_at TIMESTAMP WITH TIME ZONE,
    -- Which token a person gave last: giving it again must not undo a renewal that happened since.
    ADD COLUMN IF NOT EXISTS given_token_sha256 TEXT;

ALTER TABLE offline_webhooks
    ADD COLUMN IF NOT EXISTS name TEXT,
    ADD COLUMN IF NOT EXISTS dialect TEXT NOT NULL DEFAULT 'generic',
    ADD COLUMN IF NOT EXISTS previous_secrets TEXT[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS default_goal TEXT NOT NULL DEFAULT 'crm_conversion',
    ADD COLUMN IF NOT EXISTS default_currency TEXT,
    ADD COLUMN IF NOT EXISTS rules JSONB NOT NULL DEFAULT '[]',
    ADD COLUMN IF NOT EXISTS changed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    ADD COLUMN IF NOT EXISTS removed_at TIMESTAMP WITH TIME ZONE;

CREATE TABLE IF NOT EXISTS metrika_uploads (
    id UUID PRIMARY KEY,
    counter_id UUID NOT NULL REFERENCES metrika_counters(id),
    id_type TEXT NOT NULL CHECK (id_type IN ('ClientId', 'UserId', 'Yclid', 'PurchaseId')),
    token TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN
        ('prepared', 'sending', 'unknown', 'accepted', 'processed', 'linkage_failure', 'rejected')),
    row_count INT NOT NULL CHECK (row_count > 0),
    body_sha256 TEXT NOT NULL,
    attempts INT NOT NULL DEFAULT 0,
    metrika_upload_id TEXT,
    metrika_status TEXT,
    source_quantity BIGINT,
    line_quantity BIGINT,
    linked_quantity BIGINT,
    goal_not_found_quantity BIGINT,
    user_not_found_quantity BIGINT,
    error_class TEXT,
    error_message TEXT,
    prepared_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    sent_at TIMESTAMP WITH TIME ZONE,
    answered_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    next_check_at TIMESTAMP WITH TIME ZONE
);

CREATE INDEX IF NOT EXISTS idx_metrika_uploads_open ON metrika_uploads(counter_id, next_check_at)
    WHERE state IN ('prepared', 'sending', 'unknown', 'accepted');
CREATE INDEX IF NOT EXISTS idx_metrika_uploads_prepared ON metrika_uploads(counter_id, prepared_at);
CREATE INDEX IF NOT EXISTS idx_metrika_uploads_metrika_id ON metrika_uploads(metrika_upload_id);

ALTER TABLE webhook_conversions
    ADD COLUMN IF NOT EXISTS stage TEXT,
    ADD COLUMN IF NOT EXISTS order_id TEXT,
    ADD COLUMN IF NOT EXISTS external_source TEXT,
    ADD COLUMN IF NOT EXISTS session_id TEXT,
    ADD COLUMN IF NOT EXISTS session_missing BOOLEAN,
    ADD COLUMN IF NOT EXISTS analytics_row_id TEXT,
    ADD COLUMN IF NOT EXISTS client_id TEXT,
    ADD COLUMN IF NOT EXISTS yclid TEXT,
    ADD COLUMN IF NOT EXISTS user_id TEXT,
    ADD COLUMN IF NOT EXISTS purchase_id TEXT,
    ADD COLUMN IF NOT EXISTS target TEXT,
    ADD COLUMN IF NOT EXISTS price NUMERIC(18, 4),
    ADD COLUMN IF NOT EXISTS currency TEXT,
    ADD COLUMN IF NOT EXISTS occurred_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN IF NOT EXISTS received_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN IF NOT EXISTS resolved_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN IF NOT EXISTS deadline_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN IF NOT EXISTS goal_rule TEXT,
    ADD COLUMN IF NOT EXISTS rules_changed_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN IF NOT EXISTS attempts INT,
    ADD COLUMN IF NOT EXISTS goal_appended BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS raw_partition INT,
    ADD COLUMN IF NOT EXISTS raw_offset BIGINT,
    ADD COLUMN IF NOT EXISTS conversion_partition INT,
    ADD COLUMN IF NOT EXISTS conversion_offset BIGINT,
    ADD COLUMN IF NOT EXISTS error_class TEXT,
    ADD COLUMN IF NOT EXISTS upload UUID REFERENCES metrika_uploads(id),
    ADD COLUMN IF NOT EXISTS upload_line INT,
    -- The DateTime that goes to Metrika, in epoch seconds. Usually occurred_at; a second later where another conversion
    -- of the same visitor and goal took that second already, because Metrika would overwrite the first.
    ADD COLUMN IF NOT EXISTS upload_second BIGINT;

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conname = 'webhook_conversions_status_check' AND conrelid = 'webhook_conversions'::regclass
    ) THEN
        ALTER TABLE webhook_conversions
            ADD CONSTRAINT webhook_conversions_status_check CHECK (status IN ('pending', 'sent', 'error')) NOT VALID;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conname = 'webhook_conversions_stage_check' AND conrelid = 'webhook_conversions'::regclass
    ) THEN
        ALTER TABLE webhook_conversions
            ADD CONSTRAINT webhook_conversions_stage_check CHECK (stage IN
                ('stored', 'batched', 'uploaded', 'processed', 'not_linked', 'failed')) NOT VALID;
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS idx_webhook_conversions_outbox ON webhook_conversions(counter_id, deadline_at)
    WHERE stage = 'stored';
CREATE INDEX IF NOT EXISTS idx_webhook_conversions_upload ON webhook_conversions(upload, upload_line)
    WHERE upload IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_webhook_conversions_order_id ON webhook_conversions(order_id)
    WHERE order_id IS NOT NULL;

-- Which seconds of a visitor and goal are taken; the expression is the one of sinks/metrika.
CREATE INDEX IF NOT EXISTS idx_webhook_conversions_seconds
    ON webhook_conversions((coalesce(client_id, yclid, user_id, purchase_id)), target, upload_second)
    WHERE upload_second IS NOT NULL;
