"""``goalpost admin keys``: the keys that secrets at rest are encrypted with."""

from __future__ import annotations

import click

from goalpost.admin.key_rotation import reseal
from goalpost.admin.session import database, vault
from goalpost.console import execute_option, json_option, show
from goalpost.webhooks.registration import webhooks
from goalpost.webhooks.telling import teller
from runtime.sections import DatabaseSettings
from runtime.settings import load
from runtime.vault import generate_key
from sinks.postgres.connection import connect, translated_errors


@click.group()
def keys() -> None:
    """Keys that secrets at rest are encrypted with."""


@keys.command("generate")
@json_option
def keys_generate(as_json: bool) -> None:
    """Print a new key for GOALPOST_SECRET_KEY. To rotate: NEW,OLD everywhere, `keys rotate`, then NEW alone."""
    key = generate_key()
    show({"key": key}, [key], as_json=as_json)


@keys.command("rotate")
@execute_option("Seal, or only count what would be sealed anew.", by_default=True)
@json_option
def keys_rotate(execute: bool, as_json: bool) -> None:
    """Seal every stored secret under the first key of GOALPOST_SECRET_KEY, and tell Kafka every webhook anew.

    Put the new key in front of the old one, separated by a comma, in the settings of every process, and restart them
    first: a process that has only the old key cannot open what is sealed here. Can be interrupted and repeated.
    """
    sealing, tell = vault(), teller()
    (settings,) = load(DatabaseSettings)
    with (
        connect(settings.database_url.get_secret_value(), application_name="goalpost-admin") as connection,
        translated_errors(),
    ):
        found = list(reseal(connection, sealing, dry_run=not execute))
    problems = [f"{one.table} {one.row_id}: {one.problem}" for one in found if one.problem is not None]
    counts = {
        "accounts": sum(one.table == "yandex_accounts" and one.problem is None for one in found),
        "webhooks": sum(one.table == "offline_webhooks" and one.problem is None for one in found),
        "secrets": sum(one.secrets for one in found),
    }
    what = f"{counts['secrets']} secrets of {counts['accounts']} accounts and {counts['webhooks']} webhooks"
    if not execute:
        show(
            {**counts, "dry_run": True, "problems": problems},
            [f"{what} would be sealed anew.", *problems],
            as_json=as_json,
        )
        return
    if problems:
        show(
            {**counts, "dry_run": False, "problems": problems}, [f"{what} are sealed anew.", *problems], as_json=as_json
        )
        raise SystemExit(1)
    with database() as connection:
        configurations, removed = webhooks(connection, sealing)
    told = tell(configurations, removed)
    lines = [f"{what} are sealed anew, {len(configurations)} webhooks told to Kafka.", *told.lines]
    if told.problem is None:
        lines.append("The old keys can go from GOALPOST_SECRET_KEY.")
    show({**counts, "dry_run": False, "problems": [], **told.fields}, lines, as_json=as_json)
    told.end()
