-- An index entry holds about 2700 bytes. idx_webhook_conversions_seconds gets its entry only when a conversion is
-- uploaded; what would not fit there has to be refused when it is stored, or one row would hold up its whole counter.

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conname = 'webhook_conversions_index_check' AND conrelid = 'webhook_conversions'::regclass
    ) THEN
        ALTER TABLE webhook_conversions ADD CONSTRAINT webhook_conversions_index_check CHECK
            (coalesce(octet_length(coalesce(client_id, yclid, user_id, purchase_id)), 0) + octet_length(target) <= 2500)
            NOT VALID;
    END IF;
END
$$;
