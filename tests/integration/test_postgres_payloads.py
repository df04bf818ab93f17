"""What a sender may put into a body and the door takes, Postgres takes as well: no row is refused for its content."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import orjson
import pytest

from producers.dialects.generic import parse
from producers.dialects.outcome import Parsed, Submission
from sandbox.stack import Addresses
from schemas.jsonb import storable
from sinks.postgres.connection import Connection
from sinks.postgres.writer import Writer
from tests.sink_material import AT, Registered, conversion, fresh_database, opened, placed, register_webhook

NASTY = (
    "0." + "1" * 17_000,
    "0." + "1" * 15_999,
    "0." + "1" * 15_990 + "e-308",
    "1e-9999",
    "1e-308",
    "1e308",
    "1e309",
    "1e999999",
    "-1E+99999999999999999999",
    "9" * 140_000,
    "9" * 308,
    "1e-0000000000000000000000001",
    '"' + "9" * 200_000 + '"',
    '"a\\u0000b"',
    '"\\\\u0000"',
    '"\\ud83d\\ude00"',
    '"\\uffff"',
    "[" * 240 + "]" * 240,
    '{"a":' * 240 + "1" + "}" * 240,
    "[" + ",".join(["1e-300"] * 1000) + "]",
    "{" + ",".join(f'"{n}":{n}' for n in range(3000)) + "}",
    '{"\\u0000": 1, "": 2, "a": 1, "a": 2}',
)


@pytest.fixture(scope="module")
def connection(stack: Addresses) -> Iterator[Connection]:
    with fresh_database(stack.database_url) as url, opened(url) as opening:
        yield opening


@pytest.fixture(scope="module")
def registered(connection: Connection) -> Registered:
    return register_webhook(connection)


@pytest.fixture(scope="module")
def writer(connection: Connection) -> Writer:
    return Writer(connection)


@pytest.mark.parametrize("value", NASTY, ids=lambda text: text[:16])
def test_what_the_door_takes_postgres_takes(
    writer: Writer, connection: Connection, registered: Registered, value: str
) -> None:
    body = f'{{"session_id": "s", "goal_value": "5", "x": {value}, "kept": "as it is"}}'.encode()
    submission = Submission(body=body, content_type="application/json", query=(), received_at=AT, fields={})
    outcome = parse(submission)
    assert isinstance(outcome, Parsed)
    (event,) = outcome.events
    payload = event.payload if event.payload is not None else storable(body).decode()

    written = writer.write(placed(conversion(registered, payload=payload, price=Decimal(5))))

    assert len(written.stored) == 1
    row = connection.execute(
        "SELECT payload ->> 'kept', octet_length(payload::text) FROM webhook_conversions WHERE id = %s",
        (written.stored[0].conversion.event_id,),
    ).fetchone()
    assert row is not None
    assert row[0] == "as it is"
    assert int(str(row[1])) < 400 * len(body) + 1000  # what is read back does not outgrow what was sent by much


def test_an_absurd_number_is_stored_as_the_text_that_it_was_sent_as(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    number = "0." + "1" * 17_000
    payload = storable(b'{"x": %b, "big": 12345678901234567890123.5}' % number.encode()).decode()
    (stored,) = writer.write(placed(conversion(registered, payload=payload))).stored
    query = "SELECT payload ->> 'x', payload ->> 'big' FROM webhook_conversions WHERE id = %s"
    row = connection.execute(query, (stored.conversion.event_id,)).fetchone()
    assert row == (number, "12345678901234567890123.5")
    assert orjson.loads(payload)["x"] == number
