"""``goalpost admin`` on a real Postgres and a real Kafka: what it writes, publishes, prints and keeps to itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from goalpost.admin.commands import admin
from goalpost.admin.registration import NoSuchUser, ensure_account, ensure_counter, ensure_user
from goalpost.cluster import records
from goalpost.webhooks.registration import WebhookPlan, ensure_webhook, webhooks
from runtime.registry import Registry
from runtime.vault import Vault, generate_key, hash_of
from sandbox.stack import Addresses
from schemas.contracts import WEBHOOK_CONFIGURATIONS
from schemas.events import GoalRule, Webhook
from schemas.topics import WEBHOOKS
from sinks.postgres.connection import Connection
from tests.sink_material import fresh_database, opened

TOKEN = "y0_token_that_must_not_be_printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A person at a terminal."""

    stack: Addresses
    environment: dict[str, str]

    def run(self, *words: str, typed: str | None = None, **environment: str) -> Result:
        return CliRunner().invoke(admin, words, input=typed, env={**self.environment, **environment})

    def json(self, *words: str, typed: str | None = None) -> Any:
        result = self.run(*words, "--json", typed=typed)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def published(self, webhook_id: str) -> list[Webhook | None]:
        """What Kafka was told about a webhook, in order; ``None`` where it was removed."""
        codec = Registry(self.stack.schema_registry_url).codec(WEBHOOK_CONFIGURATIONS)
        return [
            None if record.value is None else codec.decode(record.value)
            for record in records(self.stack.kafka_bootstrap_servers, [WEBHOOKS.name])
            if record.key == webhook_id.encode()
        ]


@pytest.fixture
def desk(stack: Addresses) -> Iterator[Desk]:
    with fresh_database(stack.database_url) as url:
        yield Desk(
            stack=stack,
            environment={
                "DATABASE_URL": url,
                "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
                "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
                "GOALPOST_SECRET_KEY": generate_key(),
            },
        )


@pytest.fixture
def with_counter(desk: Desk) -> Desk:
    desk.json("account", "add", "--name", "shop", "--yandex-uid", "42", typed=TOKEN)
    desk.json("counter", "add", "--counter-id", "12345678")
    return desk


def asked(desk: Desk, query: str) -> Any:
    with psycopg.connect(desk.environment["DATABASE_URL"], autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def test_an_account_is_written_with_a_sealed_token_that_is_never_printed(desk: Desk) -> None:
    added = desk.run("account", "add", "--name", "shop", "--yandex-uid", "42", "--json", typed=TOKEN + "\n")
    listed = desk.run("account", "list")
    assert added.exit_code == listed.exit_code == 0
    assert "shop" in listed.output
    assert TOKEN not in added.output + listed.output
    ((stored,),) = asked(desk, "SELECT access_token FROM yandex_accounts")
    assert Vault(desk.environment["GOALPOST_SECRET_KEY"]).open(stored) == TOKEN


def test_adding_an_account_again_replaces_its_token_and_ends_its_pause(desk: Desk) -> None:
    words = ("account", "add", "--name", "shop", "--yandex-uid", "42")
    first = desk.json(*words, typed=TOKEN)
    asked(desk, "UPDATE yandex_accounts SET paused_reason = 'token refused' RETURNING 1")
    again = desk.json(*words, typed="another token")
    assert (again["account_id"], again["added"]) == (first["account_id"], False)
    ((stored, paused),) = asked(desk, "SELECT access_token, paused_reason FROM yandex_accounts")
    assert Vault(desk.environment["GOALPOST_SECRET_KEY"]).open(stored) == "another token"
    assert paused is None


def test_a_counter_added_twice_is_one_counter(with_counter: Desk) -> None:
    again = with_counter.json("counter", "add", "--counter-id", "12345678", "--name", "named now")
    assert again["added"] is False
    listed = with_counter.json("counter", "list")["counters"]
    assert [(one["counter_id"], one["name"], one["account"]) for one in listed] == [(12345678, "named now", "shop")]


def test_a_webhook_is_written_and_published_with_everything_a_sender_needs(with_counter: Desk) -> None:
    added = with_counter.json(
        *("webhook", "add", "--name", "crm", "--currency", "rub", "--base-url", "http://127.0.0.1:9/"),
        *("--default-goal", "deal", "--rule", "WON=paid:1500:EUR", "--rule", "LOST=lost"),
    )
    webhook_id, secret = added["webhook_id"], added["secret"]
    assert added["url"] == f"http://127.0.0.1:9/hooks/{webhook_id}"
    assert added["url_with_token"] == f"http://127.0.0.1:9/hooks/{webhook_id}/{secret}"
    assert added["drop_in_url"] == "http://127.0.0.1:9/functions/v1/crm-conversion-hook"
    assert added["headers"] == {"Authorization": f"Bearer {secret}"}
    assert added["published"] is True
    (configuration,) = with_counter.published(webhook_id)
    assert configuration is not None
    assert configuration.secret_hashes == (hash_of(secret),)
    assert Vault(with_counter.environment["GOALPOST_SECRET_KEY"]).open(configuration.sealed_secrets[0]) == secret
    assert (configuration.metrika_counter_id, configuration.default_goal) == (12345678, "deal")
    assert configuration.default_currency == "RUB"
    assert configuration.rules == (
        GoalRule(stage="WON", goal="paid", value=Decimal("1500.0000"), currency="EUR"),
        GoalRule(stage="LOST", goal="lost"),
    )
    assert secret not in with_counter.run("webhook", "list").output
    ((stored,),) = asked(with_counter, "SELECT secret FROM offline_webhooks")
    assert secret not in stored


def test_a_webhook_tells_where_its_sender_keeps_what_and_what_to_click_there(with_counter: Desk) -> None:
    added = with_counter.json(
        *("webhook", "add", "--name", "crm", "--dialect", "amocrm", "--limit", "50", "--field", "ym_uid=1119321"),
        *("--field", "order_id=Deal number", "--rule", "*=moved"),
    )
    (configuration,) = with_counter.published(added["webhook_id"])
    assert configuration is not None
    assert (configuration.dialect, configuration.max_requests_per_second) == ("amocrm", 50)
    assert configuration.fields == {"ym_uid": "1119321", "order_id": "Deal number"}
    assert any(added["url_with_token"] in line for line in added["instructions"])
    shown = with_counter.json("webhook", "show", "crm")
    assert (shown["fields"], shown["max_requests_per_second"]) == (dict(configuration.fields), 50)
    printed = with_counter.run("webhook", "show", "crm").output
    assert "ym_uid = 1119321" in printed
    assert added["secret"] not in printed + json.dumps(shown)


def test_a_change_replaces_what_it_names_and_leaves_the_rest(with_counter: Desk) -> None:
    words = ("--dialect", "bitrix24_event", "--limit", "5", "--field", "ym_uid=UF_A", "--rule", "WON=paid")
    added = with_counter.json("webhook", "add", "--name", "crm", *words)
    with_counter.json("webhook", "change", "crm", "--field", "order_id=ID", "--rule", "C2:WON=two", "--limit", "0")
    with_counter.json("webhook", "change", "crm", "--field", "ym_uid=", "--drop-rule", "WON", "--currency", "rub")
    result = with_counter.run(
        *("webhook", "change", "crm", "--accept-secret", "application-token-of-the-portal", "--fetch-url", "-"),
        typed="https://acme.bitrix24.ru/rest/1/geheim/",
    )
    assert result.exit_code == 0
    assert "geheim" not in result.output
    told = with_counter.published(added["webhook_id"])[-1]
    assert told is not None
    assert (told.fields, told.max_requests_per_second, told.default_currency) == ({"order_id": "ID"}, None, "RUB")
    assert [rule.stage for rule in told.rules] == ["C2:WON"]
    assert told.secret_hashes == (hash_of(added["secret"]), hash_of("application-token-of-the-portal"))
    vault = Vault(with_counter.environment["GOALPOST_SECRET_KEY"])
    assert vault.open(told.sealed_fetch_url or "") == "https://acme.bitrix24.ru/rest/1/geheim/"


def test_a_new_secret_leaves_the_former_one_valid_until_it_is_dropped(with_counter: Desk) -> None:
    first = with_counter.json("webhook", "add", "--name", "crm")
    second = with_counter.json("webhook", "rotate", "crm")
    third = with_counter.json("webhook", "rotate", "crm", "--drop-previous")
    told = with_counter.published(first["webhook_id"])
    hashes = [one.secret_hashes for one in told if one is not None]
    one, two, three = (hash_of(shown["secret"]) for shown in (first, second, third))
    assert hashes == [(one,), (two, one), (three,)]


def test_a_removed_webhook_is_gone_for_senders_but_not_for_its_conversions(with_counter: Desk) -> None:
    added = with_counter.json("webhook", "add", "--name", "crm")
    with_counter.json("webhook", "remove", "crm")
    assert with_counter.published(added["webhook_id"])[-1] is None
    assert with_counter.json("webhook", "list") == {"webhooks": []}
    assert asked(with_counter, "SELECT count(*) FROM offline_webhooks") == [(1,)]


def test_without_kafka_the_webhook_is_kept_and_published_later(with_counter: Desk) -> None:
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    result = with_counter.run("webhook", "add", "--name", "crm", "--json", **nowhere)
    assert result.exit_code == 1
    added = json.loads(result.stdout)
    assert added["published"] is False
    assert "KAFKA_BOOTSTRAP_SERVERS" in added["problem"]
    assert with_counter.published(added["webhook_id"]) == []
    assert with_counter.json("webhook", "publish") == {"published": 1, "removed": 0}
    (configuration,) = with_counter.published(added["webhook_id"])
    assert configuration is not None
    assert configuration.secret_hashes == (hash_of(added["secret"]),)


def test_the_same_without_json_says_what_to_do(with_counter: Desk) -> None:
    result = with_counter.run("webhook", "add", "--name", "crm", SCHEMA_REGISTRY_URL="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "goalpost admin webhook publish" in result.output
    assert "not shown again" in result.output


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("counter", "add", "--counter-id", "1"), "goalpost admin account add"),
        (("webhook", "add", "--name", "x"), "goalpost admin counter add"),
        (("webhook", "remove", "x"), "goalpost admin webhook add"),
        (("webhook", "add", "--name", "x", "--rule", "nonsense"), "STAGE=goal"),
        (("webhook", "add", "--name", "x", "--secret", "short"), "shorter than 16"),
        (("webhook", "add", "--name", "x", "--field", "clientid=x"), "NAME=FIELD"),
        (("webhook", "add", "--name", "x", "--fetch-url", "acme"), "no https address"),
        (("webhook", "show", "x"), "goalpost admin webhook add"),
        (("account", "add", "--name", "x", "--yandex-uid", "1"), "access token is empty"),
        (("counter", "add", "--counter-id", "99999999999"), "not in the range"),
    ],
)
def test_what_cannot_be_done_is_answered_with_what_to_do(desk: Desk, words: tuple[str, ...], problem: str) -> None:
    result = desk.run(*words)
    assert result.exit_code != 0
    assert problem in result.output


def test_two_counters_make_the_choice_a_question(with_counter: Desk) -> None:
    with_counter.json("counter", "add", "--counter-id", "87654321", "--name", "second")
    unsaid = with_counter.run("webhook", "add", "--name", "crm")
    assert "say which one by --counter" in unsaid.output
    said = with_counter.json("webhook", "add", "--name", "crm", "--counter", "87654321")
    (configuration,) = with_counter.published(said["webhook_id"])
    assert configuration is not None
    assert configuration.metrika_counter_id == 87654321
    again = with_counter.run("webhook", "add", "--name", "crm", "--counter", "second")
    assert "already" in again.output


def test_a_generated_key_opens_what_it_seals(desk: Desk) -> None:
    key = desk.json("keys", "generate")["key"]
    assert Vault(key).open(Vault(key).seal("secret")) == "secret"


@pytest.fixture
def connection(stack: Addresses) -> Iterator[Connection]:
    with fresh_database(stack.database_url) as url, opened(url) as connection:
        yield connection


def registered(connection: Connection, vault: Vault, token: str = TOKEN) -> WebhookPlan:
    """Account and counter with fixed ids, as the sandbox sets them up."""
    account, counter = uuid.UUID(int=1), uuid.UUID(int=2)
    ensure_account(
        connection,
        vault,
        account_id=account,
        user_id=ensure_user(connection),
        name="sandbox",
        yandex_uid="1",
        access_token=token,
    )
    ensure_counter(connection, row_id=counter, account_id=account, counter_id=10_000_001)
    return WebhookPlan(
        webhook_id=uuid.UUID(int=3), counter=counter, name="generic", dialect="generic", secret="s" * 32, url="http://x"
    )


def test_setting_up_again_changes_nothing(connection: Connection) -> None:
    vault = Vault(generate_key())
    plan = registered(connection, vault)
    first = ensure_webhook(connection, vault, plan)
    query = "SELECT a::text, c::text, w::text FROM yandex_accounts a, metrika_counters c, offline_webhooks w"
    before = connection.execute(query).fetchall()
    assert ensure_webhook(connection, vault, registered(connection, vault)) == first
    assert connection.execute(query).fetchall() == before


def test_setting_up_again_keeps_a_token_that_was_renewed_meanwhile(connection: Connection) -> None:
    vault = Vault(generate_key())
    registered(connection, vault)
    connection.execute("UPDATE yandex_accounts SET access_token = 'renewed', refreshed_at = now()")
    registered(connection, vault)
    assert connection.execute("SELECT access_token FROM yandex_accounts").fetchall() == [("renewed",)]
    registered(connection, vault, token="given by a person")
    ((stored,),) = connection.execute("SELECT access_token FROM yandex_accounts").fetchall()
    assert vault.open(str(stored)) == "given by a person"


def test_a_changed_plan_is_a_new_version_and_brings_a_removed_webhook_back(connection: Connection) -> None:
    vault = Vault(generate_key())
    plan = registered(connection, vault)
    first = ensure_webhook(connection, vault, plan)
    connection.execute("UPDATE offline_webhooks SET removed_at = now()")
    assert webhooks(connection, vault) == ([], [str(plan.webhook_id)])
    second = ensure_webhook(connection, vault, replace(plan, default_goal="deal"))
    assert (second.default_goal, second.secret_hashes) == ("deal", first.secret_hashes)
    assert second.changed_at > first.changed_at
    assert webhooks(connection, vault) == ([second], [])


def test_a_secret_that_stood_in_clear_is_sealed_when_it_is_read(connection: Connection) -> None:
    vault = Vault(generate_key())
    ensure_webhook(connection, vault, registered(connection, vault))
    connection.execute("UPDATE offline_webhooks SET secret = 'in clear'")
    ((webhook,), _) = webhooks(connection, vault)
    assert webhook.secret_hashes == (hash_of("in clear"),)
    ((stored,),) = connection.execute("SELECT secret FROM offline_webhooks").fetchall()
    assert vault.open(str(stored)) == "in clear"
    assert webhook.sealed_secrets == (stored,)


def test_on_supabase_an_account_belongs_to_somebody_who_is_there(stack: Addresses) -> None:
    supabase = (
        "CREATE SCHEMA auth",
        "CREATE TABLE auth.users (id uuid PRIMARY KEY, aud text, email text)",
        "INSERT INTO auth.users VALUES ('7b0e5a52-3a35-4d37-9a7e-0f6b7a4f2a11', 'authenticated', 'owner@example.com')",
    )
    owner = uuid.UUID("7b0e5a52-3a35-4d37-9a7e-0f6b7a4f2a11")
    with fresh_database(stack.database_url, *supabase) as url, opened(url) as connection:
        assert ensure_user(connection, email="owner@example.com") == owner
        assert ensure_user(connection, user_id=owner) == owner
        for wanted in ({}, {"email": "stranger@example.com"}, {"user_id": uuid.UUID(int=9)}):
            with pytest.raises(NoSuchUser, match="--user-id or --email"):
                ensure_user(connection, **wanted)


def test_a_webhooks_local_time_is_its_own_else_its_counters_else_that_of_the_setting(with_counter: Desk) -> None:
    added = with_counter.json("webhook", "add", "--name", "crm")
    webhook_id = added["webhook_id"]

    def zone(**environment: str) -> tuple[str, str]:
        result = with_counter.run("webhook", "show", "crm", "--json", **environment)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        return told["effective_timezone"], told["timezone_said_by"]

    def published() -> str | None:
        last = with_counter.published(webhook_id)[-1]
        assert last is not None
        return last.timezone

    assert (zone(), published()) == (("Europe/Moscow", "GOALPOST_TIMEZONE"), None)
    assert zone(GOALPOST_TIMEZONE="Asia/Omsk") == ("Asia/Omsk", "GOALPOST_TIMEZONE")
    with_counter.json("counter", "change", "12345678", "--time-zone", "asia/yekaterinburg")
    assert (zone(GOALPOST_TIMEZONE="Asia/Omsk"), published()) == (
        ("Asia/Yekaterinburg", "counter"),
        "Asia/Yekaterinburg",
    )
    with_counter.json("webhook", "change", "crm", "--timezone", "Asia/Tokyo")
    assert (zone(), published()) == (("Asia/Tokyo", "webhook"), "Asia/Tokyo")
    shown = with_counter.run("webhook", "show", "crm").output
    assert "Time zone        Asia/Tokyo, of times without an offset (by webhook)" in shown
    with_counter.json("webhook", "change", "crm", "--timezone", "")
    assert (zone(), published()) == (("Asia/Yekaterinburg", "counter"), "Asia/Yekaterinburg")
    refused = with_counter.run("webhook", "change", "crm", "--timezone", "Mars/Olympus")
    assert refused.exit_code == 2
    assert with_counter.run("webhook", "show", "crm", GOALPOST_TIMEZONE="Mars/Olympus").exit_code != 0


@pytest.mark.parametrize("code", ["BYR", "XXX", "BTC", "12"])
def test_a_currency_that_is_none_today_is_refused_where_it_is_typed(with_counter: Desk, code: str) -> None:
    for option in (("--currency", code), ("--rule", f"WON=paid:1500:{code}")):
        refused = with_counter.run("webhook", "add", "--name", "crm", *option)
        assert refused.exit_code == 2
        assert code in refused.output
    added = with_counter.json("webhook", "add", "--name", "crm", "--currency", "RUR", "--rule", "WON=paid:1500:rur")
    stored = with_counter.published(added["webhook_id"])[-1]
    assert stored is not None
    assert (stored.default_currency, stored.rules[0].currency) == ("RUB", "RUB")
