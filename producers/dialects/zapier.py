"""Zapier, "Webhooks by Zapier": POST, PUT or custom request, as form or JSON, put together by a person.

Source: help.zapier.com, "Send webhooks in Zaps". POST leaves empty values out and sends nested names as they are. A
failed run may be repeated up to ten hours later (Autoreplay), so a Zap sends ``event_id`` or ``order_id``.
"""

from __future__ import annotations

from producers.dialects import integrator
from producers.dialects.outcome import Outcome, Submission


def parse(submission: Submission) -> Outcome:
    """Return the conversions of a Zap's request. Never raises."""
    return integrator.parse(submission)
