"""The account, the counter and the webhooks of a sandbox: the person's own counter where .env names one, else the
simulator's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.credentials import Credentials

# Any number does for the simulator; this one is easy to find in a listing.
SIMULATED_COUNTER: Final = 10_000_001
SIMULATED_TOKEN: Final = "simulated-token"  # noqa: S105 - opens nothing but the simulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What was set up. ``hooks`` maps a dialect to the full address of its webhook, token included."""

    webhook_id: str
    counter_id: int
    hooks: Mapping[str, str]


def enrol(settings: Mapping[str, str], credentials: Credentials, *, webhook_url: str) -> Enrolment:
    """Write account, counter and webhooks to Postgres and publish the webhooks; a repeat changes nothing."""
    raise NotImplementedError((settings, credentials, webhook_url, Enrolment, SIMULATED_COUNTER, SIMULATED_TOKEN))
