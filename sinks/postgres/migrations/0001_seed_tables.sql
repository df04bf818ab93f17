-- The tables that the site's owner designed, unchanged. On Supabase auth.users and user_analytics exist already
-- and are left alone; on plain PostgreSQL they are created so that the references hold.

DO $$
BEGIN
    IF to_regclass('auth.users') IS NULL THEN
        CREATE SCHEMA IF NOT EXISTS auth;
        CREATE TABLE auth.users (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), email TEXT);
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS yandex_accounts (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id),
    yandex_uid TEXT NOT NULL,
    access_token TEXT NOT NULL,
    refresh_token TEXT,
    token_expires_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE TABLE IF NOT EXISTS metrika_counters (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id UUID NOT NULL REFERENCES yandex_accounts(id),
    counter_id INT NOT NULL,
    name TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE TABLE IF NOT EXISTS offline_webhooks (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    counter_id UUID NOT NULL REFERENCES metrika_counters(id),
    url TEXT NOT NULL,
    secret TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE TABLE IF NOT EXISTS webhook_conversions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id UUID NOT NULL REFERENCES offline_webhooks(id),
    counter_id UUID NOT NULL REFERENCES metrika_counters(id),
    payload JSONB NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    metrika_upload_id TEXT,
    error_message TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_webhook_conversions_status ON webhook_conversions(status);
CREATE INDEX IF NOT EXISTS idx_webhook_conversions_counter_id ON webhook_conversions(counter_id);

DO $$
BEGIN
    IF to_regclass('user_analytics') IS NULL THEN
        CREATE TABLE user_analytics (
            id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
            session_id TEXT,
            analytics_data JSONB,
            timestamp TIMESTAMP WITH TIME ZONE DEFAULT NOW()
        );
        -- Only where it is ours: a site that has the table already has its own rules for who reads it.
        ALTER TABLE user_analytics ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$;
