-- What the Metrika sink has to remember beyond one process: requests of the day, goals in trouble, where a refused file
-- went, and that a token is being refreshed.

-- Requests of an account (Metrika's user_login) on a day that begins at 00:00 GMT. `rests_until`: Metrika itself has
-- said that the account's quota is used up.
CREATE TABLE IF NOT EXISTS metrika_request_days (
    yandex_uid TEXT NOT NULL,
    day DATE NOT NULL,
    requests INT NOT NULL DEFAULT 0,
    rests_until TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (yandex_uid, day)
);

-- One row: when the next request of any account may go out. Metrika counts requests a second by address.
CREATE TABLE IF NOT EXISTS metrika_request_pace (
    id INT PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    next_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '-infinity'
);
INSERT INTO metrika_request_pace DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Goals of a counter that Metrika takes exception to. `refused_in_a_row`: single conversions refused for the same cause
-- with none accepted between. `held_at`: its conversions wait as they are, but for one at each `retry_at`.
-- `unknown_since`: Metrika found no such goal in the counter.
CREATE TABLE IF NOT EXISTS metrika_goals (
    counter_id UUID NOT NULL REFERENCES metrika_counters(id),
    target TEXT NOT NULL,
    error_type TEXT,
    refused_in_a_row INT NOT NULL DEFAULT 0,
    refused_on DATE,
    refused_that_day INT NOT NULL DEFAULT 0,
    held_at TIMESTAMP WITH TIME ZONE,
    retry_at TIMESTAMP WITH TIME ZONE,
    retries INT NOT NULL DEFAULT 0,
    reason TEXT,
    unknown_since TIMESTAMP WITH TIME ZONE,
    unknown_lines BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (counter_id, target)
);

ALTER TABLE metrika_counters
    -- Until then files hold one goal each, so that Metrika's counts name the one that it does not find.
    ADD COLUMN IF NOT EXISTS separate_goals_until TIMESTAMP WITH TIME ZONE;

ALTER TABLE yandex_accounts
    -- A refresh was begun and its answer is not stored: the refresh token may have been used up by it.
    ADD COLUMN IF NOT EXISTS refreshing_since TIMESTAMP WITH TIME ZONE;

ALTER TABLE metrika_uploads
    ADD COLUMN IF NOT EXISTS parent UUID REFERENCES metrika_uploads(id),
    -- What all its rows have in common; NULL where they differ.
    ADD COLUMN IF NOT EXISTS target TEXT,
    ADD COLUMN IF NOT EXISTS source TEXT,
    -- A request before the last one was left open: look in Metrika's list before the next one.
    ADD COLUMN IF NOT EXISTS maybe_taken BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX IF NOT EXISTS idx_metrika_uploads_parent ON metrika_uploads(parent) WHERE parent IS NOT NULL;

-- Before this version nothing was said about it, so it may have been.
UPDATE metrika_uploads SET maybe_taken = TRUE WHERE state = 'prepared' AND attempts > 0;

-- What a dead letter needs that is rebuilt after crm.conversions has forgotten the record.
ALTER TABLE webhook_conversions
    ADD COLUMN IF NOT EXISTS creates_row BOOLEAN,
    ADD COLUMN IF NOT EXISTS session_at TIMESTAMP WITH TIME ZONE;

DO $$
DECLARE
    has_anon CONSTANT BOOLEAN := EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon');
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['metrika_request_days', 'metrika_request_pace', 'metrika_goals'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        IF has_anon THEN
            EXECUTE format('REVOKE ALL ON TABLE %I FROM anon', name);
        END IF;
    END LOOP;
END
$$;
