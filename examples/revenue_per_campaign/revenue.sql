-- This team's own tables, in its own schema. One row per conversion, so that a repeat changes nothing; the sums are a view.

CREATE SCHEMA IF NOT EXISTS marketing;

CREATE TABLE IF NOT EXISTS marketing.sales (
    event_id UUID PRIMARY KEY,
    campaign TEXT NOT NULL,
    currency TEXT NOT NULL,
    price NUMERIC(18, 4) NOT NULL,
    sold_at TIMESTAMP WITH TIME ZONE NOT NULL
);

CREATE OR REPLACE VIEW marketing.revenue_per_campaign AS
SELECT campaign, currency, count(*) AS sales, sum(price) AS revenue
FROM marketing.sales
GROUP BY campaign, currency;
