-- signature: the one scheme of HMAC signatures that a webhook accepts. timezone: IANA name of the zone of times without
-- an offset; NULL is the counter's, else the service's. on_change: what an order and goal that come again with another
-- amount mean. session_wait: whether an event that Metrika can place without its session is uploaded after the short
-- delays (its goal is appended when the session comes), or waits through all of them.

ALTER TABLE offline_webhooks
    ADD COLUMN IF NOT EXISTS signature TEXT NOT NULL DEFAULT 'standard'
        CHECK (signature IN ('standard', 'x-signature-256', 'none')),
    ADD COLUMN IF NOT EXISTS timezone TEXT,
    ADD COLUMN IF NOT EXISTS on_change TEXT NOT NULL DEFAULT 'ignore'
        CHECK (on_change IN ('ignore', 'letter', 'correct')),
    ADD COLUMN IF NOT EXISTS session_wait TEXT NOT NULL DEFAULT 'short' CHECK (session_wait IN ('short', 'long'));

-- What was not taken as it was sent, for `goalpost trace`.
ALTER TABLE webhook_conversions ADD COLUMN IF NOT EXISTS notes TEXT;
