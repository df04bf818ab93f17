-- What a webhook may be told beyond its goal rules. `fields`: goalpost's name of a field to the sender's name or path of
-- it. `max_requests_per_second`: NULL is the service's own limit. `uploads_orders`: events that carry only a phone or an
-- e-mail go to Metrika as CRM orders. `fetch_url`: sealed address of the CRM's API, where webhooks carry only an id.

ALTER TABLE offline_webhooks
    ADD COLUMN IF NOT EXISTS fields JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS max_requests_per_second INT CHECK (max_requests_per_second > 0),
    ADD COLUMN IF NOT EXISTS uploads_orders BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS fetch_url TEXT;
