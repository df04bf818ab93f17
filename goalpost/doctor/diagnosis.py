"""What ``goalpost doctor`` looks at: one function per dependency, each answering with findings and never raising.

Everything is only read. A finding that is not good says what a person should do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString

import requests
from psycopg.rows import dict_row

from goalpost.cluster import admin, broker_calls, records
from goalpost.findings import Finding, bad, good
from goalpost.topics.cluster import schema_differences, topic_states
from goalpost.topics.plan import Difference, topic_differences
from goalpost.webhooks.published import configurations
from runtime.certificates import tls_trouble
from runtime.failures import Fatal
from runtime.registry import Registry
from runtime.sections import KafkaSettings, MetrikaSettings
from runtime.vault import Vault
from schemas.codec import Undecodable
from schemas.contracts import WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.records import Incoming
from schemas.topics import TOPICS, WEBHOOKS
from sinks.postgres.connection import Connection, connect, translated_errors
from sinks.postgres.migrate import migrations

_SECONDS: Final = 5
_OLDEST_POSTGRES: Final = 140_000
_MOST_NAMED: Final = 10

# How runtime.vault marks what it has sealed.
_SEALED: Final = "sealed:"


def kafka(settings: KafkaSettings) -> Iterator[Finding]:
    """Brokers: reachable, and enough of them for the replication that is asked for."""
    client = admin(settings.bootstrap_servers)
    with broker_calls():
        cluster = client.describe_cluster(request_timeout=_SECONDS).result()
    brokers = len(cluster.nodes)
    if brokers < settings.replication_factor:
        yield bad(
            "kafka",
            f"{brokers} brokers, but GOALPOST_REPLICATION_FACTOR is {settings.replication_factor}",
            "Add brokers or lower the factor; topics cannot be created like this.",
        )
    else:
        yield good("kafka", f"cluster {cluster.cluster_id} with {brokers} brokers at {settings.bootstrap_servers}")


def kafka_topics(settings: KafkaSettings) -> Iterator[Finding]:
    """Topics: there, with the partitions and settings that are registered."""
    client = admin(settings.bootstrap_servers)
    states = topic_states(client, [topic.name for topic in TOPICS])
    found = topic_differences(TOPICS, states, partitions=settings.partitions, replication=settings.replication_factor)
    yield from _differences("topics", list(found), f"{len(TOPICS)} topics are as registered")


def schema_registry(settings: KafkaSettings) -> Iterator[Finding]:
    """Registry: reachable, every schema registered under its compatibility rule."""
    found = schema_differences(settings.schema_registry_url)
    yield from _differences("registry", list(found), f"every schema is registered at {settings.schema_registry_url}")


def _differences(check: str, found: list[Difference], well: str) -> Iterator[Finding]:
    if not found:
        yield good(check, well)
    for one in found:
        detail = f"{one.subject}: {one.setting or one.aspect.value} is {one.actual}, not {one.expected}"
        yield bad(check, detail, one.remedy or "Run `goalpost topics apply`.")


def postgres(database_url: str) -> Iterator[Finding]:
    """Postgres: reachable, new enough, with every migration of this version applied as it is in the package."""
    with connect(database_url, application_name="goalpost doctor") as connection, translated_errors():
        version = connection.info.server_version
        if version < _OLDEST_POSTGRES:
            yield bad("postgres", f"its version is {version // 10_000}", "Use PostgreSQL 14 or newer.")
        else:
            yield good("postgres", f"PostgreSQL {version // 10_000} answers")
        yield _migrations(connection)


def _migrations(connection: Connection) -> Finding:
    there = connection.execute("SELECT to_regclass('goalpost_migrations') IS NOT NULL").fetchone()
    if not there or not there[0]:
        return bad("migrations", "the tables are not there", "Run `goalpost migrate`.")
    ledger = connection.execute("SELECT version, sha256 FROM goalpost_migrations")
    applied = {str(version): str(sha256) for version, sha256 in ledger}
    known = {migration.version: migration for migration in migrations()}
    missing = [f"{known[version].version}_{known[version].name}" for version in known if version not in applied]
    if missing:
        return bad("migrations", f"not applied: {', '.join(missing)}", "Run `goalpost migrate`.")
    newer = sorted(applied.keys() - known.keys())
    if newer:
        return bad("migrations", f"unknown to this version: {', '.join(newer)}", "Install the goalpost that made them.")
    changed = [version for version in known if applied[version] != known[version].sha256]
    if changed:
        remedy = "Put the files back as they were; changes belong in a new migration."
        return bad("migrations", f"changed after they were applied: {', '.join(changed)}", remedy)
    return good("migrations", f"{len(known)} applied")


_SECRETS: Final[LiteralString] = """
SELECT 'access token of account ' || id AS what, access_token AS secret FROM yandex_accounts
UNION ALL
SELECT 'refresh token of account ' || id, refresh_token FROM yandex_accounts WHERE refresh_token IS NOT NULL
UNION ALL
SELECT 'secret of webhook ' || id, unnest(array_prepend(secret, previous_secrets))
FROM offline_webhooks WHERE secret IS NOT NULL AND removed_at IS NULL
"""


def secrets(database_url: str, secret_key: str) -> Iterator[Finding]:
    """Secrets at rest: sealed, and opened by GOALPOST_SECRET_KEY."""
    vault = Vault(secret_key)
    with connect(database_url, application_name="goalpost doctor") as connection, translated_errors():
        stored = [(str(what), str(secret)) for what, secret in connection.execute(_SECRETS)]
    closed = [what for what, secret in stored if secret.startswith(_SEALED) and not _opens(vault, secret)]
    for what in closed:
        remedy = "Put the key it was sealed with behind the new one in GOALPOST_SECRET_KEY, separated by a comma."
        yield bad("secrets", f"the {what} does not open", remedy)
    for what in (what for what, secret in stored if not secret.startswith(_SEALED)):
        yield bad(
            "secrets",
            f"the {what} is stored in clear",
            "Set it again with `goalpost admin`: account add, webhook rotate.",
        )
    if not closed:
        yield good("secrets", f"GOALPOST_SECRET_KEY opens {len(stored)} stored secrets")


def _opens(vault: Vault, sealed: str) -> bool:
    try:
        vault.open(sealed)
    except Fatal:
        return False
    return True


def accounts(database_url: str) -> Iterator[Finding]:
    """Accounts: there is one, and none is paused."""
    with connect(database_url, application_name="goalpost doctor") as connection, translated_errors():
        rows = connection.cursor(row_factory=dict_row)
        found = rows.execute("SELECT id::text, name, paused_reason FROM yandex_accounts ORDER BY created_at").fetchall()
    if not found:
        yield bad("accounts", "there is no Yandex account", "Add one with `goalpost admin account add`.")
    for account in found:
        if account["paused_reason"]:
            detail = f"account {account['id']} is paused: {account['paused_reason']}"
            yield bad(
                "accounts", detail, "Give it a new token with `goalpost admin account add`; nothing is lost meanwhile."
            )
    if found and not any(account["paused_reason"] for account in found):
        yield good("accounts", f"{len(found)} accounts, none paused")


def webhooks(settings: KafkaSettings, database_url: str) -> Iterator[Finding]:
    """Webhooks: what producers and streams read from Kafka is what Postgres has."""
    published, problems = _published(settings)
    yield from problems
    with connect(database_url, application_name="goalpost doctor") as connection, translated_errors():
        query = "SELECT id::text, default_goal, dialect FROM offline_webhooks WHERE removed_at IS NULL"
        stored: dict[str, tuple[Any, ...]] = {str(row[0]): row[1:] for row in connection.execute(query)}
    if not stored:
        yield bad("webhooks", "there is no webhook", "Add one with `goalpost admin webhook add`.")
    for webhook_id in sorted(stored.keys() | published.keys()):
        detail = _webhook_difference(published.get(webhook_id), stored.get(webhook_id))
        if detail:
            remedy = "Publish the configuration again with `goalpost admin webhook publish`."
            yield bad("webhooks", f"webhook {webhook_id} {detail}", remedy)
    if stored and all(_webhook_difference(published.get(key), stored[key]) == "" for key in stored):
        yield good("webhooks", f"{len(stored)} published as they are in Postgres")


def _webhook_difference(published: Webhook | None, stored: tuple[Any, ...] | None) -> str:
    if published is None:
        return "is not in goalpost.webhooks, so its events are refused with 404"
    if stored is None:
        return "is in goalpost.webhooks but not in Postgres"
    if (published.default_goal, published.dialect) != stored:
        return "is published with an older configuration"
    return ""


def _published(settings: KafkaSettings) -> tuple[dict[str, Webhook], list[Finding]]:
    """Return what is published, and a finding for each of a few records that are none and not replaced by now."""
    last: dict[bytes | None, int] = {}
    found: list[tuple[Incoming, Undecodable]] = []

    def read() -> Iterator[Incoming]:
        for record in records(settings.bootstrap_servers, [WEBHOOKS.name]):
            last[record.key] = record.offset
            yield record

    codec = Registry(settings.schema_registry_url).codec(WEBHOOK_CONFIGURATIONS)
    known = configurations(read(), codec, refused=lambda *refused: found.append(refused))
    standing = [(record, problem) for record, problem in found if last[record.key] == record.offset]
    return known, [_no_webhook(*one) for one in standing[:_MOST_NAMED]]


def _no_webhook(record: Incoming, problem: Undecodable) -> Finding:
    place = f"{WEBHOOKS.name}:{record.partition}:{record.offset}"
    detail = f"{place} is no webhook and is ignored: {problem.reason}"
    return bad("webhooks", detail, "Run `goalpost admin webhook publish`, and find out who else writes to that topic.")


def metrika(settings: MetrikaSettings) -> Iterator[Finding]:
    """Metrika: something answers at its address. Tokens are not sent anywhere for this."""
    for name, url in (("METRIKA_API_URL", settings.api_url), ("YANDEX_OAUTH_URL", settings.oauth_url)):
        try:
            answer = requests.get(url, timeout=_SECONDS, allow_redirects=False)
        except requests.RequestException as exc:
            why = tls_trouble(exc, url) or f"{url} does not answer ({type(exc).__name__})"
            yield bad("metrika", why, f"Check the network and {name}.")
        else:
            yield good("metrika", f"{url} answers (HTTP {answer.status_code})")
