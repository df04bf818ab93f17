"""Make, the HTTP module: JSON, form or multipart, put together by a person.

Source: apps.make.com/http. Make repeats a run only for 429, 503, 504 and timeouts, and only with "incomplete
executions" on; what the service cannot store at once is answered 503. A scenario sends ``event_id`` or ``order_id``.
"""

from __future__ import annotations

from producers.dialects import integrator
from producers.dialects.outcome import Outcome, Submission


def parse(submission: Submission) -> Outcome:
    """Return the conversions of a scenario's request. Never raises."""
    return integrator.parse(submission)
