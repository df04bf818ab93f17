"""``goalpost admin``: Yandex accounts, Metrika counters, webhooks and keys."""

from __future__ import annotations

import click

from goalpost.admin.accounts import account
from goalpost.admin.counters import counter
from goalpost.admin.keys import keys
from goalpost.webhooks.commands import webhook


@click.group()
def admin() -> None:
    """Accounts, counters, webhooks and keys. Begin with: account login, counter add, webhook add."""


for group in (account, counter, webhook, keys):
    admin.add_command(group)
