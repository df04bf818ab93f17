-- Conversions that name a person only by a phone or an e-mail go to Metrika as CRM orders, in uploads of their own.

ALTER TABLE metrika_counters
    -- Metrika reads an order's time in the time zone of its counter; Moscow's is that of a new one in Russia.
    ADD COLUMN IF NOT EXISTS time_zone TEXT NOT NULL DEFAULT 'Europe/Moscow';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conname = 'metrika_uploads_id_type_check' AND conrelid = 'metrika_uploads'::regclass
          AND pg_get_constraintdef(oid) LIKE '%Contact%'
    ) THEN
        ALTER TABLE metrika_uploads DROP CONSTRAINT IF EXISTS metrika_uploads_id_type_check;
        ALTER TABLE metrika_uploads ADD CONSTRAINT metrika_uploads_id_type_check
            CHECK (id_type IN ('ClientId', 'UserId', 'Yclid', 'PurchaseId', 'Contact')) NOT VALID;
    END IF;
END
$$;
