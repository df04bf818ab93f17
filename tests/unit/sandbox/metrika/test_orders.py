"""CDP orders: the documented sample, every date format, what is refused, and the three merge modes."""

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.orders.merging import MergeMode, merged
from sandbox.metrika.orders.order_file import BadOrders, Order, read_orders

# Metrika's own sample (cdp/uploadsimpleorders).
SAMPLE = b"""id,create_date_time,client_uniq_id,client_ids,emails,phones,order_status,revenue,cost,goals,currency
s_ord1,10.01.2024 11:56,s_user1,,"mail@example.com,mail2@example.com",,PAID,200,150,"oplata_cash:200,filial_1",
s_ord2,20.01.2024 11:59,,12345,mail3@example.com,,,200,150,,EUR
,12.02.2024,,34456,,79876543210,SPAM,,,plohoy_lead,
"""


def read(content: bytes, *, delimiter: str = ",", **settings: bool) -> list[Order] | BadOrders:
    configuration = Configuration(**settings)  # type: ignore[arg-type]  # switches only
    return read_orders(content.splitlines(keepends=True), delimiter=delimiter, configuration=configuration)


def test_the_documented_sample_is_read() -> None:
    orders = read(SAMPLE)

    assert isinstance(orders, list)
    assert [order.id for order in orders] == ["s_ord1", "s_ord2", ""]
    assert orders[0].fields == {
        "create_date_time": "2024-01-10 11:56:00",
        "client_uniq_id": "s_user1",
        "emails": ["mail@example.com", "mail2@example.com"],
        "order_status": "PAID",
        "revenue": "200",
        "cost": "150",
        "goals": ["oplata_cash:200", "filial_1"],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.01.2024", "2024-01-10 00:00:00"),
        ("10.01.2024 11:56", "2024-01-10 11:56:00"),
        ("10.01.2024 11:56:07", "2024-01-10 11:56:07"),
        ("10.01.24 11:56", "2024-01-10 11:56:00"),
        ("2024-01-10", "2024-01-10 00:00:00"),
        ("2024-01-10 11:56:07", "2024-01-10 11:56:07"),
    ],
)
def test_every_documented_form_of_a_date_is_read(text: str, expected: str) -> None:
    orders = read(f"id,create_date_time,client_ids\na,{text},1\n".encode())

    assert isinstance(orders, list)
    assert orders[0].fields["create_date_time"] == expected


def test_a_semicolon_can_separate() -> None:
    orders = read(b"id;create_date_time;emails\na;10.01.2024;a@b.ru,c@d.ru\n", delimiter=";")

    assert isinstance(orders, list)
    assert orders[0].fields["emails"] == ["a@b.ru", "c@d.ru"]


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("id,client_ids", "a,1", "create_date_time is missing"),
        ("id,create_date_time", "a,10.01.2024", "one of client_ids"),
        ("id,create_date_time,client_ids,total", "a,10.01.2024,1,5", "unknown column"),
        ("id,create_date_time,client_ids", "a,10/01/2024,1", "create_date_time is not"),
        ("id,create_date_time,client_ids", "a,2024-01-10T11:56,1", "create_date_time is not"),
        ("id,create_date_time,client_ids", "a,10.01.2024,", "must be given"),
        ("id,create_date_time,emails", "a,10.01.2024,Mail@Example.com", "emails is not"),
        ("id,create_date_time,phones", "a,10.01.2024,+7 999 555-11-11", "phones is not"),
        ("id,create_date_time,emails_md5", "a,10.01.2024,mail@yandex.ru", "emails_md5 is not"),
        ("id,create_date_time,client_ids,revenue", 'a,10.01.2024,1,"1,5"', "revenue is not"),
        ("id,create_date_time,client_ids", "a,10.01.2024", "2 fields for 3 columns"),
    ],
)
def test_a_file_that_breaks_a_rule_fails_and_says_where_without_personal_data(
    header: str, row: str, reason: str
) -> None:
    bad = read(f"{header}\n{row}\n".encode())

    assert isinstance(bad, BadOrders)
    assert reason in bad.reason
    assert "@" not in bad.reason


def test_an_order_without_an_id_is_taken_or_refused_as_configured() -> None:
    content = b"create_date_time,phones\n10.01.2024,79995551111\n"

    assert isinstance(read(content), list)
    assert isinstance(read(content, accept_orders_without_id=False), BadOrders)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (MergeMode.SAVE, {"order_status": "PAID", "goals": ["b"]}),
        (MergeMode.UPDATE, {"order_status": "PAID", "revenue": "5", "goals": ["b"]}),
        (MergeMode.APPEND, {"order_status": "PAID", "revenue": "5", "goals": ["a", "b"]}),
    ],
)
def test_a_repeated_order_is_merged_as_its_mode_says_and_keeps_its_first_date(
    mode: MergeMode, expected: dict[str, object]
) -> None:
    before: dict[str, str | list[str]] = {
        "create_date_time": "2024-01-10 00:00:00",
        "order_status": "IN_PROGRESS",
        "revenue": "5",
        "goals": ["a"],
    }
    sent: dict[str, str | list[str]] = {
        "create_date_time": "2024-02-02 00:00:00",
        "order_status": "PAID",
        "goals": ["b"],
    }

    assert merged(before, sent, mode) == {"create_date_time": "2024-01-10 00:00:00", **expected}
