"""The metric catalogue: every name, type, label and help text of every process.

Labels are bounded: stages, topics of the registry, error classes. Each stage has received, sent, rejected, retried and
seconds; what is special to one stage follows below.
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
RETRIED = Counter("pipeline_retries_total", "Attempts that a dependency made necessary again.", ["stage", "dependency"])
SECONDS = Histogram("pipeline_batch_seconds", "Time for one batch, run or request.", ["stage"], buckets=_LATENCIES)
AGE = Histogram(
    "pipeline_age_seconds", "Time from the webhook's answer to the end of this stage.", ["stage"], buckets=_AGES
)
PROGRESS = Gauge(
    "pipeline_last_progress_timestamp_seconds", "When the stage last finished something or was idle.", ["stage"]
)

REQUESTS = Counter("webhook_requests_total", "Requests by route and status.", ["route", "status"])
SESSIONS_STORED = Gauge("join_sessions_stored", "Session keys in the join's state.", ["partition"])
SESSIONS_LAG = Gauge("join_sessions_lag_records", "Session records not yet in the join's state.", ["partition"])
WAITING = Gauge("join_events_waiting", "Events in the waiting room.", ["partition"])
WAITING_OLDEST = Gauge(
    "join_waiting_oldest_timestamp_seconds", "Since when the oldest event waits; 0 if none.", ["partition"]
)
JOINED = Counter("join_events_total", "What the join did with events.", ["result"])
GOALS_APPENDED = Counter("postgres_goals_appended_total", "Goals appended to user_analytics.")
ROWS_REPEATED = Counter("postgres_rows_repeated_total", "Conversions that were stored already; nothing was changed.")
UPLOADS = Counter("metrika_uploads_total", "Upload attempts by result.", ["result"])
CONVERSIONS_PENDING = Gauge("metrika_conversions_pending", "Conversions that wait for their upload.")
