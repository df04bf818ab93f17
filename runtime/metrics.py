"""The metric catalogue: every name, type, label and help text of every process.

Labels are bounded: stages, topics of the registry, error classes, webhooks. Each stage has received, sent, rejected,
retried and seconds; what is special to one stage follows below.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_LATENCIES: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_AGES: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600, 6 * 3600, 86_400)

RECEIVED = Counter("pipeline_records_received_total", "Records or requests that came in.", ["stage"])
SENT = Counter(
    "pipeline_records_sent_total", "Records, rows or uploads that went out and were confirmed.", ["stage", "to"]
)
REJECTED = Counter("pipeline_records_rejected_total", "Records that became dead letters.", ["stage", "error_class"])
BREAKER_OPEN = Gauge(
    "pipeline_breaker_open", "1 while a stage stands still because nearly everything would be refused.", ["stage"]
)
RETRIED = Counter("pipeline_retries_total", "Attempts that a dependency made necessary again.", ["stage", "dependency"])
SECONDS = Histogram("pipeline_batch_seconds", "Time for one batch, run or request.", ["stage"], buckets=_LATENCIES)
AGE = Histogram(
    "pipeline_age_seconds", "Time from the webhook's answer to the end of this stage.", ["stage"], buckets=_AGES
)
PROGRESS = Gauge(
    "pipeline_last_progress_timestamp_seconds", "When the stage last finished something or was idle.", ["stage"]
)

CLIENTS_RENEWED = Counter(
    "pipeline_clients_renewed_total",
    "Kafka clients that were silent while the broker answered, and made anew.",
    ["client"],
)
BEHIND = Gauge(
    "pipeline_reader_behind_records", "Records that Kafka has for a reader which has not read them yet.", ["reader"]
)

REQUESTS = Counter("webhook_requests_total", "Requests by route and status.", ["route", "status"])
IGNORED = Counter(
    "webhook_ignored_total",
    "What CRMs reported that is no conversion by the webhook's rules.",
    ["webhook_id", "dialect", "why"],
)
DOUBTS = Counter(
    "webhook_doubts_total",
    "What was taken, but not as it was sent: a time in the future, an unreadable time or id; the event's notes say it.",
    ["webhook_id", "dialect", "why"],
)
QUARANTINED = Counter("webhook_quarantined_total", "Requests that did not authenticate: kept or not.", ["what"])
SPOOL_RECORDS = Gauge("webhook_spool_records", "Records on the disk spool: accepted, not yet in Kafka.")
SPOOL_BYTES = Gauge("webhook_spool_bytes", "Bytes on the disk spool; GOALPOST_SPOOL_MAX_BYTES is the limit.")
SPOOL_OLDEST = Gauge(
    "webhook_spool_oldest_timestamp_seconds", "Since when the oldest record of the spool waits; 0 if none."
)
SPOOLED = Counter("webhook_spooled_records_total", "Records that were answered 202 from the disk spool.")
SESSIONS_STORED = Gauge("join_sessions_stored", "Session keys in the join's state.", ["partition"])
SESSIONS_LAG = Gauge(
    "join_sessions_lag_records", "Records to read before the join's state has caught up.", ["partition"]
)
SESSION_CHANGES_WAITING = Gauge(
    "sessions_changes_waiting", "Changes of user_analytics that are not in web.sessions yet; 100000 is that or more."
)
SESSION_CHANGES_OLDEST = Gauge(
    "sessions_changes_oldest_timestamp_seconds", "Since when the oldest of these changes waits; 0 if none."
)
SESSION_ROWS_UNUSABLE = Counter(
    "sessions_rows_unusable_total", "Rows of user_analytics that cannot become a session; the log names them."
)
WAITING = Gauge("join_events_waiting", "Events in the waiting room.", ["partition"])
WAITING_OLDEST = Gauge(
    "join_waiting_oldest_timestamp_seconds", "Since when the oldest event waits; 0 if none.", ["partition"]
)
WAITING_NEXT = Gauge(
    "join_waiting_next_due_timestamp_seconds", "When the next waiting event is looked at; 0 if none.", ["partition"]
)
JOINED = Counter("join_events_total", "What the join did with events.", ["result"])
GOALS_APPENDED = Counter("postgres_goals_appended_total", "Goals appended to user_analytics.")
ROWS_REPEATED = Counter("postgres_rows_repeated_total", "Conversions that were stored already; nothing was changed.")
SESSIONS_LATE = Counter(
    "postgres_sessions_late_total", "Sessions that came after their conversion was stored; its goal was appended then."
)
AMOUNTS_CHANGED = Counter(
    "postgres_amounts_changed_total",
    "Orders and goals that came again with another amount: ignored, lettered or corrected.",
    ["webhook_id", "decision"],
)
UPLOADS = Counter("metrika_uploads_total", "Upload attempts by result.", ["result"])
CONVERSIONS_PENDING = Gauge("metrika_conversions_pending", "Conversions that wait for their upload.")
METRIKA_LINES = Counter(
    "metrika_lines_total",
    "Lines of finished uploads: sent; and linked, refused, goal_not_found, user_not_found, which may overlap.",
    ["source", "goal", "id_type", "result"],
)
METRIKA_REQUESTS = Counter(
    "metrika_requests_total", "Requests to Metrika by operation and answer.", ["operation", "answer"]
)
METRIKA_REQUESTS_LEFT = Gauge("metrika_requests_left", "Requests that an account may still make today.", ["account"])
METRIKA_DEADLINE = Gauge(
    "metrika_earliest_deadline_timestamp_seconds",
    "Deadline of the conversion that expires first of those not uploaded; 0 if none.",
)
METRIKA_TROUBLE = Gauge(
    "metrika_trouble",
    "What needs a person: accounts_paused, goals_held, goals_unknown, uploads_unclear.",
    ["what"],
)
