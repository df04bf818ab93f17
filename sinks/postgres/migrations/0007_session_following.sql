-- session_readings: how far a reading of user_analytics has come; moved on in the transaction that follows Kafka's
-- acknowledgement, so that a crash repeats rows and never skips one.
-- user_analytics_changes: rows whose session is not in web.sessions yet. Nothing writes here before
-- `goalpost sessions follow` has put its triggers on user_analytics; `goalpost sessions unfollow` takes them off again.

CREATE TABLE IF NOT EXISTS session_readings (
    name TEXT PRIMARY KEY,
    since_ms BIGINT,
    until_ms BIGINT,
    -- Behind which row it stands: its timestamp and id as text. Rows without a timestamp come last.
    position_at TEXT,
    position_id TEXT,
    untimed BOOLEAN NOT NULL DEFAULT FALSE,
    counts JSONB NOT NULL DEFAULT '{}',
    -- Which triggers have recorded every change since it began.
    recording TEXT,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    finished_at TIMESTAMP WITH TIME ZONE
);

-- No rule on the values: what is refused here would be refused to the site.
CREATE TABLE IF NOT EXISTS user_analytics_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    row_id TEXT,
    -- The session that the row had before and has no more.
    left_session TEXT,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp()
);

-- With the owner's rights: whoever may write user_analytics may not see goalpost's tables.
CREATE OR REPLACE FUNCTION record_session_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- Somebody dropped the table: the site must go on. The follower notices and reads everything again.
    IF to_regclass('user_analytics_changes') IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO user_analytics_changes (row_id) VALUES (NEW.id::text);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO user_analytics_changes (row_id, left_session) VALUES (OLD.id::text, OLD.session_id::text);
    ELSE
        INSERT INTO user_analytics_changes (row_id, left_session) VALUES
            (NEW.id::text, CASE WHEN OLD.session_id IS DISTINCT FROM NEW.session_id THEN OLD.session_id::text END);
    END IF;
    RETURN NULL;
END
$$;

-- A function with its owner's rights must not look up tables in a schema that its caller chooses.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION record_session_change() SET search_path = %I, pg_temp', current_schema());
END
$$;
REVOKE ALL ON FUNCTION record_session_change() FROM PUBLIC;

ALTER TABLE session_readings ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_analytics_changes ENABLE ROW LEVEL SECURITY;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN
        REVOKE ALL ON TABLE session_readings, user_analytics_changes FROM anon;
    END IF;
END
$$;
