"""The options that several webhook commands share, checked where they are typed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from goalpost.admin.session import secret_from
from goalpost.webhooks.rules import BadRule, parse_currency, parse_field, parse_goal, parse_rule

T = TypeVar("T")

# Hexadecimal: the same characters serve as a header, as part of an address, and as base64 of Standard Webhooks.
_SECRET_BYTES: Final = 24
# A webhook's secret stands alone between the world and the counter; a guess must be hopeless.
_SHORTEST_SECRET: Final = 16


def _one(
    parse: Callable[[str], T], _context: click.Context, _parameter: click.Parameter, value: str | None
) -> T | None:
    try:
        return None if value is None else parse(value)
    except BadRule as exc:
        raise click.BadParameter(str(exc)) from exc


def _each(
    parse: Callable[[str], T], _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> tuple[T, ...]:
    try:
        return tuple(parse(value) for value in values)
    except BadRule as exc:
        raise click.BadParameter(str(exc)) from exc


def _timezone(name: str) -> str:
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise BadRule(f"{name!r} is no time zone; give its IANA name, such as Europe/Moscow") from exc


def goal_option(default: str | None) -> Callable[[Any], Any]:
    """``--default-goal``."""
    return click.option("--default-goal", default=default, callback=partial(_one, parse_goal), show_default=True)


currency_option = click.option(
    "--currency", callback=partial(_one, parse_currency), help="Where neither event nor rule names one."
)
rules_option = click.option(
    "--rule",
    "rules",
    multiple=True,
    callback=partial(_each, parse_rule),
    metavar="STAGE=goal[:value[:currency]]",
    help="What a stage of the CRM is worth; the stage * is any other.",
)
fields_option = click.option(
    "--field",
    "fields",
    multiple=True,
    callback=partial(_each, parse_field),
    metavar="NAME=FIELD",
    help="Where the sender keeps one of goalpost's fields: a name, a number, or a path such as data[FIELDS][ID].",
)
orders_option = click.option(
    "--orders/--no-orders",
    default=None,
    help="Upload conversions that name only a phone or an e-mail as CRM orders, hashed.",
)
fetch_option = click.option("--fetch-url", help="Address of the CRM's API, its token included; - to type or pipe it.")
accepted_option = click.option(
    "--accept-secret", "accepted", help="One more that is accepted, such as Bitrix24's application token; - to type it."
)
signature_option = click.option(
    "--signature",
    type=click.Choice(["standard", "x-signature-256", "none"]),
    help="The one HMAC scheme to accept: Standard Webhooks, X-Signature-256 with X-Signature-Timestamp, or none.",
)
timezone_option = click.option(
    "--timezone",
    callback=partial(_one, _timezone),
    metavar="ZONE",
    help="Zone of times without an offset, such as Europe/Moscow; '' for the counter's, else GOALPOST_TIMEZONE.",
)
on_change_option = click.option(
    "--on-change",
    type=click.Choice(["ignore", "letter", "correct"]),
    help="An order and goal come again with another amount: keep the first, make a dead letter, or upload the new one.",
)
session_wait_option = click.option(
    "--session-wait",
    type=click.Choice(["short", "long"]),
    help="An event that Metrika can place by itself waits for its session under a minute, or through all delays.",
)
secret_option = click.option("--secret", help="At least 16 characters, - to type or pipe it; one is made if absent.")


def secret_given(given: str | None) -> str:
    """Return the webhook's secret as wished, or a new one.

    Raises:
        click.ClickException: it is too short.
    """
    if given is None:
        return secrets.token_hex(_SECRET_BYTES)
    secret = secret_from(given, "secret")
    if len(secret) < _SHORTEST_SECRET:
        raise click.ClickException(
            f"The secret is shorter than {_SHORTEST_SECRET} characters. Omit --secret to get one."
        )
    return secret


def fetch_url_given(given: str | None) -> str | None:
    """Return the address of the CRM's API.

    Raises:
        click.ClickException: it is none.
    """
    if given is None:
        return None
    url = secret_from(given, "fetch URL")
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise click.ClickException("The fetch URL is no https address. Copy the whole address of the inbound webhook.")
    return url
