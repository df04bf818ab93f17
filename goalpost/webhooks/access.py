"""What is printed of a webhook: everything that its sender needs, and what to click there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from goalpost.webhooks.instructions import instructions
from goalpost.webhooks.registration import WebhookPlan

# Stands where the secret would, when it is not shown again.
HIDDEN: Final = "SECRET"


def access(plan: WebhookPlan, *, counter: int, secret: str) -> dict[str, Any]:
    """Return the addresses, headers and steps of a webhook; ``counter`` is Metrika's number."""
    header = f"Authorization: Bearer {secret}"
    body = '{"session_id": "...", "goal_name": "payment_success", "goal_value": 5000}'
    with_token = f"{plan.url}/{secret}"
    return {
        "webhook_id": str(plan.webhook_id),
        "name": plan.name,
        "dialect": plan.dialect,
        "url": plan.url,
        "url_with_token": with_token,
        "drop_in_url": f"{plan.url.partition('/hooks/')[0]}/functions/v1/crm-conversion-hook",
        "headers": {"Authorization": f"Bearer {secret}"},
        "secret": secret,
        "curl": f"curl -X POST {shlex.quote(plan.url)} -H {shlex.quote(header)} "
        f"-H 'Content-Type: application/json' -d '{body}'",
        "instructions": instructions(
            plan.dialect, url=with_token, address=plan.url, secret=secret, counter=counter, name=plan.name
        ),
    }


def access_lines(shown: Mapping[str, Any]) -> list[str]:
    """Return the same for people."""
    return [
        f"Webhook {shown['name']} ({shown['dialect']}): {shown['webhook_id']}",
        "",
        f"  Address          {shown['url']}",
        f"  with this header Authorization: {shown['headers']['Authorization']}",
        f"  or without one   {shown['url_with_token']}",
        f"  in place of Supabase's function, with the header: {shown['drop_in_url']}",
        "",
        *shown["instructions"],
    ]


def settings(plan: WebhookPlan, *, counter_zone: str | None, default_zone: str) -> dict[str, Any]:
    """Return what the webhook is told beyond its addresses, without anything secret.

    ``counter_zone`` is what its counter counts in, if that is known, ``default_zone`` is GOALPOST_TIMEZONE.
    """
    zone, said_by = next(
        (zone, said_by)
        for zone, said_by in (
            (plan.timezone, "webhook"),
            (counter_zone, "counter"),
            (default_zone, "GOALPOST_TIMEZONE"),
        )
        if zone
    )
    return {
        "default_goal": plan.default_goal,
        "default_currency": plan.default_currency,
        "rules": [
            {"stage": rule.stage, "goal": rule.goal, "value": rule.value, "currency": rule.currency}
            for rule in plan.rules
        ],
        "fields": dict(plan.fields),
        "max_requests_per_second": plan.max_requests_per_second,
        "uploads_orders": plan.uploads_orders,
        "fetches": plan.fetch_url is not None,
        "signature": plan.signature,
        "timezone": plan.timezone,
        "effective_timezone": zone,
        "timezone_said_by": said_by,
        "on_change": plan.on_change,
        "session_wait": plan.session_wait,
    }


def settings_lines(told: Mapping[str, Any]) -> list[str]:
    """Return the same for people."""
    rules = [f"{rule['stage']} -> {rule['goal']}" for rule in told["rules"]]
    fields = [f"{name} = {path}" for name, path in told["fields"].items()]
    return [
        f"  Default goal     {told['default_goal']}",
        f"  Default currency {told['default_currency'] or '-'}",
        f"  Rules            {', '.join(rules) or '-'}",
        f"  Fields           {', '.join(fields) or 'where this dialect usually has them'}",
        f"  Requests/second  {told['max_requests_per_second'] or 'as the service allows'}",
        f"  Uploads orders   {'yes, of a phone or an e-mail alone' if told['uploads_orders'] else 'no'}",
        f"  Fetches deals    {'yes' if told['fetches'] else 'no'}",
        f"  Signature        {told['signature']}",
        f"  Time zone        {told['effective_timezone']}, of times without an offset (by {told['timezone_said_by']})",
        f"  Changed amounts  {told['on_change']}",
        f"  Session wait     {told['session_wait']}",
    ]
