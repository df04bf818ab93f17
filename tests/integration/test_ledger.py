"""``goalpost ledger`` on a real broker and a real database: what is planted is found and named, and nothing else is."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner, Result

from goalpost.cli import main
from goalpost.cluster import records
from goalpost.moment import iso
from runtime import kafka
from sandbox.stack import Addresses
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.records import Headers, Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, JOIN_APP, POSTGRES_SINK_GROUP, RAW, WAITING, Topic
from sinks.postgres.connection import Connection
from sinks.postgres.writer import Writer
from tests.integration.offsets import finish
from tests.sink_material import Registered, conversion, fresh_database, opened, placed, register_webhook

REASON = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.RESOLVE, message="no session")
EACH_ONCE = {"repeats": 0, "stored": 0, "waiting": 0, "dead_lettered": 0, "discarded": 0, "on_its_way": 0}


@dataclass
class Books:
    """The stages, played by hand: what they write and commit, seen by a ledger that begins when this object is made."""

    stack: Addresses
    database_url: str
    connection: Connection
    registered: Registered = field(init=False)

    def __post_init__(self) -> None:
        self._sender = kafka.Sender(kafka.producer(self.stack.kafka_bootstrap_servers, client_id="test-ledger"))
        self.registered = register_webhook(self.connection)
        self._writer = Writer(self.connection)
        time.sleep(0.002)  # brokers' times are milliseconds: nobody else's record is of this one
        self.since_ms = time.time_ns() // 1_000_000

    def receive(self, *, headers: Headers = ()) -> Incoming:
        """An event comes in."""
        event_id = str(uuid.uuid4())
        self._sender.send(
            [Outgoing(topic=RAW.name, key=event_id.encode(), value=b"", headers=(*_headers(event_id), *headers))]
        )
        return self.find(RAW.name, event_id)[-1]

    def receive_again(self, raw: Incoming) -> None:
        """The same event comes in again."""
        self._sender.send([Outgoing(topic=RAW.name, key=raw.key, value=b"", headers=raw.headers)])

    def resolve(self, raw: Incoming) -> None:
        """The join resolves it."""
        self._sender.send([Outgoing(topic=CONVERSIONS.name, key=raw.key, value=b"", headers=raw.headers)])

    def wait(self, raw: Incoming, **more: str) -> Incoming:
        """The join lets it wait."""
        headers = (*raw.headers, *((f"waiting.{name}", text.encode()) for name, text in more.items()))
        self._sender.send([Outgoing(topic=WAITING.name, key=raw.key, value=b"", headers=headers)])
        return self.find(WAITING.name, _id(raw))[-1]

    def release(self, waiting: Incoming) -> None:
        """Its wait is over."""
        headers = (("waiting.released", str(waiting.offset).encode()),)
        self._sender.send(
            [Outgoing(topic=WAITING.name, key=waiting.key, value=None, headers=headers, partition=waiting.partition)]
        )

    def refuse(self, record: Incoming) -> None:
        """It becomes a dead letter."""
        topic = f"{record.topic}.dlq"
        self._sender.send([letter_for(record, REASON, topic=topic, now_ms=1, letter_id=uuid.uuid4())])

    def store(self, raw: Incoming) -> str:
        """The Postgres sink stores it."""
        stored = conversion(
            self.registered, event_id=_id(raw), raw_partition=raw.partition, raw_offset=raw.offset, client_id="1"
        )
        self._writer.write(placed(stored))
        return stored.event_id

    def correct(self, raw: Incoming) -> None:
        """The order comes again with another amount, and its webhook wants that one to count."""
        self.connection.execute("UPDATE offline_webhooks SET on_change = 'correct'")
        again = conversion(
            self.registered,
            event_id=_id(raw),
            raw_partition=raw.partition,
            raw_offset=raw.offset + 1,
            price=Decimal(7),
            price_sent=True,
        )
        assert self._writer.write(placed(again)).amended.corrections == 1

    def upload(self, *event_ids: str, state: str = "accepted", stage: str = "uploaded") -> str:
        """The Metrika sink uploads rows."""
        upload = uuid.uuid4()
        token = f"goalpost{upload.hex}"
        self.connection.execute(
            """
            INSERT INTO metrika_uploads
                (id, counter_id, id_type, token, state, row_count, body_sha256, metrika_upload_id)
            VALUES (%s, %s, 'ClientId', %s, %s, %s, '', '4711')
            """,
            (upload, self.registered.counter_id, token, state, len(event_ids)),
        )
        self.connection.execute(
            "UPDATE webhook_conversions SET stage = %s, status = 'sent', upload = %s WHERE id = ANY(%s::uuid[])",
            (stage, upload, list(event_ids)),
        )
        return token

    def commit(self, group: str, topic: Topic, *, short_of: Incoming | None = None) -> None:
        """The stage has finished everything, or everything before a record of its partition."""
        finish(self.stack.kafka_bootstrap_servers, group, topic, short_of=short_of)

    def all_done(self) -> None:
        """Both stages have finished everything."""
        self.commit(JOIN_APP, RAW)
        self.commit(POSTGRES_SINK_GROUP, CONVERSIONS)

    def find(self, topic: str, event_id: str) -> list[Incoming]:
        """The records of an event."""
        found = records(self.stack.kafka_bootstrap_servers, [topic], since_ms=self.since_ms)
        return [record for record in found if header(record.headers, "event_id") == event_id]

    def environment(self) -> dict[str, str]:
        """What commands need."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.stack.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.stack.schema_registry_url,
            "DATABASE_URL": self.database_url,
        }

    def ledger(self, *arguments: str, grace: str = "0") -> Result:
        """Balance."""
        options = ["ledger", "--since", iso(self.since_ms), "--grace", grace, *arguments]
        return CliRunner().invoke(main, options, env=self.environment(), catch_exceptions=False)

    def balance(self) -> dict[str, Any]:
        """Balance, as JSON, equations by name."""
        content = json.loads(self.ledger("--json").stdout)
        return {**content, **{equation["name"]: equation for equation in content["equations"]}}


def _headers(event_id: str) -> Headers:
    return (("event_id", event_id.encode()), ("webhook_id", b"w"))


def _id(record: Incoming) -> str:
    return header(record.headers, "event_id") or ""


@pytest.fixture
def books(stack: Addresses) -> Iterator[Books]:
    with fresh_database(stack.database_url) as url, opened(url) as connection:
        yield Books(stack=stack, database_url=url, connection=connection)


def test_every_place_of_an_event_is_counted_once(books: Books) -> None:
    stored, again, waits, waited, refused, discarded, replayed, way = (books.receive() for _ in range(8))
    for one in (stored, again, waited):
        books.resolve(one)
    books.receive_again(again)
    books.resolve(again)
    uploaded = [books.store(one) for one in (stored, again, waited)]
    books.upload(*uploaded[:2])
    books.wait(waits)
    books.release(books.wait(waited))
    for one in (refused, discarded, replayed):
        books.refuse(one)
    runner = CliRunner()
    for command, one in (("discard", discarded), ("replay", replayed)):
        options = ["dlq", command, "--id", _id(one), "--execute", "--json"]
        options += ["--reason", "a test"] if command == "discard" else []
        assert runner.invoke(main, options, env=books.environment()).exit_code == 0
    books.all_done()
    books.commit(JOIN_APP, RAW, short_of=way)
    back = books.find(RAW.name, _id(replayed))[-1]
    books.wait(back)

    balance = books.balance()

    assert balance["holds"], balance
    parts = balance["received"]["parts"]
    assert balance["received"]["total"] == 9
    # Of the partition in which the last one stands, whatever came after it may be on its way, too.
    assert parts | {"on_its_way": 1} == EACH_ONCE | {
        "repeats": 1,
        "stored": 3,
        "waiting": 2,
        "dead_lettered": 1,
        "discarded": 1,
        "on_its_way": 1,
    }
    assert parts["on_its_way"] == 1
    assert balance["replayed"] == 1
    assert balance["stored"]["parts"] == {"pending": 1, "uploaded": 2, "failed": 0, "expired": 0}
    assert (balance["uploaded"]["total"], balance["uploaded"]["parts"]) == (2, {"accepted": 2})


def test_a_row_that_was_deleted_is_named_by_both_sides(books: Books) -> None:
    kept, lost = books.receive(), books.receive()
    for one in (kept, lost):
        books.resolve(one)
    token = books.upload(books.store(kept), books.store(lost))
    books.all_done()
    assert books.balance()["holds"]

    # The database refuses that to everybody; who may switch its triggers off can do it all the same.
    with books.connection.transaction():
        books.connection.execute("SET LOCAL session_replication_role = replica")
        books.connection.execute("DELETE FROM webhook_conversions WHERE id = %s", (_id(lost),))

    balance = books.balance()
    assert [named["name"] for named in balance["received"]["named"]] == [_id(lost)]
    assert "has no row" in balance["received"]["named"][0]["why"]
    assert [named["name"] for named in balance["uploaded"]["named"]] == [token]
    assert balance["stored"]["holds"]
    printed = books.ledger()
    assert printed.exit_code == 1
    assert _id(lost) in printed.stdout


def test_an_offset_that_was_skipped_is_named_with_its_place(books: Books) -> None:
    before, skipped = books.receive(), books.receive()
    books.resolve(before)
    books.store(before)
    books.all_done()

    (named,) = books.balance()["received"]["named"]

    assert named["name"] == _id(skipped)
    assert named["place"] == f"{RAW.name}:{skipped.partition}:{skipped.offset}"
    assert "the join is past it" in named["why"]


def test_what_went_ahead_of_its_session_is_counted_once_and_missed_if_it_is_lost(books: Books) -> None:
    stored, way, lost = (books.receive() for _ in range(3))
    for one in (stored, lost):
        books.resolve(one)
        books.wait(one, ahead="1", attempt="2")
    books.store(stored)
    books.all_done()
    books.resolve(way)
    books.wait(way, ahead="1", attempt="2")

    balance = books.balance()

    assert [named["name"] for named in balance["received"]["named"]] == [_id(lost)]
    assert "has no row" in balance["received"]["named"][0]["why"]
    assert balance["received"]["parts"] == EACH_ONCE | {"stored": 1, "on_its_way": 1}


def test_a_correction_of_an_amount_is_a_row_but_no_event(books: Books) -> None:
    raw = books.receive()
    books.resolve(raw)
    books.upload(books.store(raw))
    books.correct(raw)
    books.all_done()

    balance = books.balance()

    assert balance["holds"], balance
    assert balance["received"]["parts"] == EACH_ONCE | {"stored": 1}
    assert balance["stored"]["parts"] == {"pending": 1, "uploaded": 1, "failed": 0, "expired": 0}


def test_a_conversion_that_the_sink_skipped_is_named(books: Books) -> None:
    skipped = books.receive()
    books.resolve(skipped)
    books.all_done()

    (named,) = books.balance()["received"]["named"]

    assert named["name"] == _id(skipped)
    assert named["place"].startswith(f"{CONVERSIONS.name}:")


def test_what_no_stage_has_passed_is_on_its_way(books: Books) -> None:
    books.all_done()
    raw, resolved = books.receive(), books.receive()
    books.resolve(resolved)

    balance = books.balance()

    assert balance["holds"]
    assert balance["received"]["parts"]["on_its_way"] == 2
    assert _id(raw)


def test_what_has_just_happened_has_time_to_arrive(books: Books) -> None:
    books.receive()
    books.all_done()

    assert books.ledger(grace="60").exit_code == 0
    assert books.ledger(grace="0").exit_code == 1


def test_records_without_an_id_are_followed_by_their_place(books: Books) -> None:
    raw = books.receive()
    nameless = replace(raw, headers=())
    books.receive_again(nameless)
    foreign = next(
        record
        for record in records(books.stack.kafka_bootstrap_servers, [RAW.name], since_ms=books.since_ms)
        if not record.headers
    )
    books.resolve(raw)
    books.store(raw)
    books.all_done()
    assert len(books.balance()["received"]["named"]) == 1

    books.refuse(foreign)

    balance = books.balance()
    assert balance["holds"], balance
    assert balance["received"]["parts"]["dead_lettered"] == 1


def test_a_row_that_nothing_was_received_for_is_named(books: Books) -> None:
    raw = books.receive()
    books.resolve(raw)
    books.store(raw)
    invented = replace(raw, headers=_headers(str(uuid.uuid4())))
    books.store(invented)
    books.all_done()

    (named,) = books.balance()["received"]["named"]

    assert named["name"] == _id(invented)
    assert "no such event was received" in named["why"]


def test_a_row_that_was_taken_out_by_hand_is_named(books: Books) -> None:
    raw = books.receive()
    books.resolve(raw)
    books.store(raw)
    books.all_done()
    books.connection.execute("UPDATE webhook_conversions SET status = 'error' WHERE id = %s", (_id(raw),))

    balance = books.balance()

    assert [named["name"] for named in balance["stored"]["named"]] == [_id(raw)]
    assert balance["received"]["holds"]


def test_a_row_that_says_uploaded_without_an_accepted_upload_is_named(books: Books) -> None:
    raw = books.receive()
    books.resolve(raw)
    books.upload(books.store(raw), state="rejected")
    books.all_done()

    assert [named["name"] for named in books.balance()["uploaded"]["named"]] == [_id(raw)]


def test_an_erased_visitors_conversions_are_not_missed(books: Books) -> None:
    uploaded, pending = books.receive(), books.receive()
    for one in (uploaded, pending):
        books.resolve(one)
    books.upload(books.store(uploaded))
    books.store(pending)
    books.all_done()

    options = ["erase", "--ym-uid", "1", "--reason", "asked for it", "--execute"]
    assert CliRunner().invoke(main, options, env=books.environment(), catch_exceptions=False).exit_code == 0

    balance = books.balance()
    assert balance["holds"], balance
    assert balance["received"]["parts"] == EACH_ONCE | {"stored": 2}
    assert balance["stored"]["parts"] == {"pending": 0, "uploaded": 1, "failed": 1, "expired": 0}


def test_without_postgres_nothing_is_said(books: Books) -> None:
    books.database_url = "postgresql://nobody@127.0.0.1:1/none"

    answer = books.ledger()

    assert answer.exit_code == 2
    assert "cannot be said" in answer.output
