"""One case per error class: how its dead letter comes about for real, and how its cause is mended."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import requests
from click.testing import CliRunner, Result

from goalpost.cli import main
from goalpost.moment import iso
from goalpost.webhooks.publishing import publish
from goalpost.webhooks.registration import WebhookPlan, ensure_webhook
from runtime import kafka
from runtime.registry import Registry
from runtime.vault import Vault
from sandbox.pipeline import Pipeline
from schemas.codec import Codec, frame, framed_schema_id
from schemas.contracts import RAW_EVENTS
from schemas.dead_letter import ErrorClass
from schemas.events import RawEvent, Webhook
from schemas.identity import event_key
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Outgoing
from schemas.topics import RAW
from tests.bitrix24_portal import Bitrix24
from tests.e2e.outside import Outside, eventually

FORM = "application/x-www-form-urlencoded"


def nothing() -> None:
    """Mend nothing."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A letter of a class: the visitor whose upload ends the matter, the event's id if known, and what mends it.

    ``options`` are those of the replay that succeeds.
    """

    error_class: ErrorClass
    visitor: str
    event_id: str | None = None
    webhook_id: str
    mend: Callable[[], None] = nothing
    options: Sequence[str] = ()


@dataclass
class Scene:
    """Makes letters in a running pipeline, all at once, because some of them take their time."""

    pipeline: Pipeline
    folder: Path
    crm: Bitrix24
    cases: dict[ErrorClass, Case] = field(default_factory=dict)
    _visitors: int = 0

    def __post_init__(self) -> None:
        self.outside = Outside(self.pipeline)
        self.began = iso(time.time_ns() // 1_000_000)
        self._settings = self.pipeline.settings()
        self._registry = Registry(self.pipeline.addresses.schema_registry_url)
        self._codec: Codec[RawEvent] = self._registry.codec(RAW_EVENTS)
        servers = self.pipeline.addresses.kafka_bootstrap_servers
        self._sender = kafka.Sender(kafka.producer(servers, client_id="test-letters"))
        self._base = time.time_ns() // 1000

    def goalpost(self, *arguments: str) -> Result:
        """Run a command as an operator of this pipeline."""
        return CliRunner().invoke(main, list(arguments), env=self._settings, catch_exceptions=False)

    def play(self) -> None:
        """Make every letter."""
        portal = self._portal()  # long before its note, so that the fetcher knows it by then
        self._metrika_rejected()  # first, because the next upload is refused, whosever it is
        self._expired()
        self._session_not_found()
        self._webhook_unknown()
        self._row_refused()
        self._amount_changed()
        self._undecodable()
        self._schema_unknown()
        self._event_invalid()
        self._goal_invalid()
        self._body_unparseable()
        self._no_visitor()
        self._deal_not_found(portal)

    def _visitor(self, *, known: bool = True) -> str:
        """A visitor of one's own; one that is known needs no waiting room."""
        self._visitors += 1
        visitor = str(self._base + self._visitors)
        if known:
            self.outside.visit({"session_id": f"of-{visitor}", "ym_uid": visitor})
        return visitor

    def _add(
        self, error_class: ErrorClass, visitor: str, *, event_id: str | None = None, webhook_id: str = "", **more: Any
    ) -> None:
        self.cases[error_class] = Case(
            error_class=error_class,
            visitor=visitor,
            event_id=event_id,
            webhook_id=webhook_id or self.pipeline.credentials.webhook_id,
            **more,
        )

    def _converted(self, **body: object) -> str:
        answer = self.outside.convert({"event_id": str(uuid.uuid4()), "goal_name": "deal_won", **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["event_ids"][0])

    def _script(self, name: str, source: str) -> tuple[str, str]:
        path = self.folder / f"{name}.py"
        path.write_text(source)
        return "--transform", str(path)

    def _metrika_rejected(self) -> None:
        url = f"{self.pipeline.metrika_api_url}/_control/faults"
        requests.post(url, json=[{"match": "upload", "fault": "reject", "times": 1}], timeout=10).raise_for_status()
        visitor = self._visitor()
        event_id = self._converted(ym_uid=visitor)
        self._until_failed(event_id)
        requests.delete(url, timeout=10).raise_for_status()
        self._add(ErrorClass.METRIKA_REJECTED, visitor, event_id=event_id)

    def _until_failed(self, event_id: str) -> None:
        eventually(
            lambda: self.outside.row(event_id),
            lambda row: row is not None and row["stage"] == "failed",
            within_seconds=30,
        )

    def _expired(self) -> None:
        visitor, session = self._visitor(known=False), f"expired-{uuid.uuid4()}"
        long_ago = iso(time.time_ns() // 1_000_000 - 25 * 24 * 3600 * 1000)
        self.outside.visit({"session_id": session, "ym_uid": visitor, "timestamp": long_ago, "last_visit_at": long_ago})
        event_id = self._converted(session_id=session)

        def come_back() -> None:
            self._sql("UPDATE webhook_conversions SET deadline_at = now() + interval '1 day' WHERE id = %s", event_id)

        self._add(ErrorClass.EXPIRED, visitor, event_id=event_id, mend=come_back)

    def _session_not_found(self) -> None:
        visitor, session = self._visitor(known=False), f"late-{uuid.uuid4()}"
        event_id = self._converted(session_id=session)

        def visit() -> None:
            self.outside.visit({"session_id": session, "ym_uid": visitor})

        self._add(ErrorClass.SESSION_NOT_FOUND, visitor, event_id=event_id, mend=visit)

    def _webhook_unknown(self) -> None:
        plan = self._plan()
        with self._database() as database:
            ensure_webhook(database, self._vault(), plan)
        visitor = self._visitor()
        event_id = self._raw(ym_uid=visitor, webhook_id=str(plan.webhook_id))

        def tell() -> None:
            assert self.goalpost("admin", "webhook", "publish").exit_code == 0

        self._add(ErrorClass.WEBHOOK_UNKNOWN, visitor, event_id=event_id, webhook_id=str(plan.webhook_id), mend=tell)

    def _row_refused(self) -> None:
        plan = self._plan()
        with self._database() as database:
            self._publish(ensure_webhook(database, self._vault(), plan))
            database.rollback()  # Kafka knows it, Postgres does not
        visitor = self._visitor()
        event_id = self._raw(ym_uid=visitor, webhook_id=str(plan.webhook_id))

        def register() -> None:
            with self._database() as database:
                ensure_webhook(database, self._vault(), plan)

        self._add(ErrorClass.ROW_REFUSED, visitor, event_id=event_id, webhook_id=str(plan.webhook_id), mend=register)

    def _amount_changed(self) -> None:
        plan = replace(self._plan(), on_change="letter")
        with self._database() as database:
            self._publish(ensure_webhook(database, self._vault(), plan))
        visitor, webhook_id = self._visitor(), str(plan.webhook_id)
        event_id = self._raw(ym_uid=visitor, webhook_id=webhook_id, goal_value=Decimal(3000))
        self._raw(event_id=event_id, ym_uid=visitor, webhook_id=webhook_id, goal_value=Decimal(5000))
        self._add(ErrorClass.AMOUNT_CHANGED, visitor, event_id=event_id, webhook_id=webhook_id)

    def _undecodable(self) -> None:
        visitor = self._visitor()
        event_id = self._raw(ym_uid=visitor, spoil=lambda value: value + b"\0")
        fix = self._script("cut", "def transform_bytes(value):\n    return value[:-1]\n")
        self._add(ErrorClass.UNDECODABLE, visitor, event_id=event_id, options=fix)

    def _schema_unknown(self) -> None:
        next_id = self._register() + 1
        visitor = self._visitor()
        event_id = self._raw(ym_uid=visitor, spoil=lambda value: frame(next_id, value[5:]))

        def register() -> None:
            assert self._register() == next_id

        self._add(ErrorClass.SCHEMA_UNKNOWN, visitor, event_id=event_id, mend=register)

    def _register(self) -> int:
        """Register one more spelling of the raw event's schema under a subject of its own."""
        schema = json.loads(RAW_EVENTS.schema_text) | {"doc": str(uuid.uuid4())}
        return self._registry.register(f"test-{uuid.uuid4()}", json.dumps(schema))

    def _event_invalid(self) -> None:
        visitor = self._visitor()
        event_id = self._raw()
        self._add(ErrorClass.EVENT_INVALID, visitor, event_id=event_id, options=("--set", f"ym_uid={visitor}"))

    def _goal_invalid(self) -> None:
        visitor = self._visitor()
        event_id = self._raw(ym_uid=visitor, goal_name="deal/won")
        self._add(ErrorClass.GOAL_INVALID, visitor, event_id=event_id, options=("--set", "goal_name=deal_won"))

    def _body_unparseable(self) -> None:
        visitor = self._visitor()
        self._keep(b"--x\r\nbroken", "multipart/form-data; boundary=x")
        part = f'--x\\r\\nContent-Disposition: form-data; name="ym_uid"\\r\\n\\r\\n{visitor}\\r\\n--x--\\r\\n'
        fix = self._script("whole", f"def transform_bytes(value):\n    return b'{part}'\n")
        self._add(ErrorClass.BODY_UNPARSEABLE, visitor, options=fix)

    def _no_visitor(self) -> None:
        visitor = self._visitor()
        self._keep(b"goal_value=5", FORM)
        source = f"def transform_bytes(value):\n    return value + b'&ym_uid={visitor}'\n"
        self._add(ErrorClass.NO_VISITOR, visitor, options=self._script("named", source))

    def _portal(self) -> WebhookPlan:
        plan = self._plan(dialect="bitrix24_event", fetch_url=self.crm.address)
        with self._database() as database:
            configuration = ensure_webhook(database, self._vault(), plan)
        self._publish(configuration)
        return plan

    def _deal_not_found(self, portal: WebhookPlan) -> None:
        visitor, webhook_id = self._visitor(), str(portal.webhook_id)
        note = f"event=ONCRMDEALUPDATE&data[FIELDS][ID]={visitor}&ts={int(time.time())}"
        self._post(note.encode(), FORM, webhook_id=webhook_id, secret=portal.secret)

        def put_it_back() -> None:
            won = {"ID": visitor, "STAGE_ID": "WON", "STAGE_SEMANTIC_ID": "S", "OPPORTUNITY": "10.00"}
            self.crm.deals[visitor] = {**won, "UF_CRM_YMCLIENTID": visitor}

        self._add(ErrorClass.DEAL_NOT_FOUND, visitor, webhook_id=webhook_id, mend=put_it_back)

    def _keep(self, body: bytes, content_type: str) -> None:
        """Send a body that is kept for its dead letter."""
        known = self.pipeline.credentials
        answer = self._post(body, content_type, webhook_id=known.webhook_id, secret=known.webhook_secret)
        assert answer["rejected"]

    def _post(self, body: bytes, content_type: str, *, webhook_id: str, secret: str) -> dict[str, Any]:
        answer = requests.post(
            f"{self.pipeline.webhook_url}/hooks/{webhook_id}",
            data=body,
            headers={"Authorization": f"Bearer {secret}", "Content-Type": content_type},
            timeout=10,
        )
        assert answer.ok, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def _raw(self, *, spoil: Callable[[bytes], bytes] = lambda value: value, **values: Any) -> str:
        """Write an event to crm.events.raw as the webhook service, or somebody in its place, does."""
        now = time.time_ns() // 1_000_000
        given: dict[str, Any] = {
            "event_id": str(uuid.uuid4()),
            "webhook_id": self.pipeline.credentials.webhook_id,
            "dialect": "generic",
            "received_at": now,
            "occurred_at": now,
            "payload": "{}",
        }
        event = RawEvent(**{**given, **values})
        headers = ((EVENT_ID_HEADER, event.event_id.encode()), (WEBHOOK_ID_HEADER, event.webhook_id.encode()))
        value = spoil(self._codec.encode(event))
        assert framed_schema_id(value)
        self._sender.send([Outgoing(topic=RAW.name, key=event_key(event), value=value, headers=headers)])
        return event.event_id

    def _plan(self, *, dialect: str = "generic", fetch_url: str | None = None) -> WebhookPlan:
        counter = self.outside.query("SELECT id FROM metrika_counters LIMIT 1")[0]["id"]
        webhook_id = uuid.uuid4()
        return WebhookPlan(
            webhook_id=webhook_id,
            counter=counter,
            name=f"letters {webhook_id}",
            dialect=dialect,
            secret=uuid.uuid4().hex,
            url="http://127.0.0.1/",
            fetch_url=fetch_url,
        )

    def _publish(self, webhook: Webhook) -> None:
        addresses = self.pipeline.addresses
        publish(addresses.kafka_bootstrap_servers, addresses.schema_registry_url, [webhook])

    def _vault(self) -> Vault:
        return Vault(self._settings["GOALPOST_SECRET_KEY"])

    def _database(self) -> psycopg.Connection:
        return psycopg.connect(self.pipeline.addresses.database_url)

    def _sql(self, statement: str, *values: object) -> None:
        with self._database() as database:
            database.execute(statement.encode(), values)
