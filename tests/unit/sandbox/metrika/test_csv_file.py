"""Reading a conversions file: what Metrika documents is accepted, everything else is named by its line."""

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.csv_file import BadFile, BadRow, Row, read_rows
from tests.unit.sandbox.metrika.client import DOCUMENTED_SAMPLE

NOW = 1_800_000_000.0
DEFAULT = Configuration()


def read(content: bytes, configuration: Configuration = DEFAULT) -> list[Row | BadRow | BadFile]:
    return list(read_rows(content.splitlines(keepends=True), now=NOW, configuration=configuration))


def only(content: bytes, configuration: Configuration = DEFAULT) -> Row | BadRow | BadFile:
    (found,) = read(content, configuration)
    return found


def test_the_documented_sample_is_read_to_the_last_digit() -> None:
    rows = read(DOCUMENTED_SAMPLE)

    assert len(rows) == 6
    assert rows[3] == Row(5, "579124169844706072", None, None, None, "GOAL3", 1481718116, "678.90", "RUB")


@pytest.mark.parametrize(
    "content",
    [
        b"UserId,Target,DateTime,Price,Currency\n7f3a,GOAL1,1481718166,123.45,RUB\n",
        b"ClientId,Target,DateTime\n1,GOAL1,1481718166\n",
        b"Yclid,Target,DateTime,Price,Currency\n16516788817953816575,GOAL1,1481718166,1,RUB\n",
        b"PurchaseId,Target,DateTime\norder-1,GOAL1,1481718166\n",
        b"Target,DateTime,Yclid,ClientId,Price,Currency\nGOAL1,1481718166,,1,,\n",
        b'Target,DateTime,ClientId,Yclid\r\n"GOAL1","1481718166","18446744073709551615",""\r\n',
        "UserId,Target,DateTime\n1,Заявка с сайта,1481718166\n".encode(),
        b"\xef\xbb\xbfClientId,Target,DateTime\n1,GOAL1,1481718166\n",
        b"ClientId,Target,DateTime\n1,GOAL1,1481718166\n\n",
    ],
)
def test_every_documented_or_observed_form_of_a_file_is_accepted(content: bytes) -> None:
    assert isinstance(only(content), Row)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ("12a,,GOAL1,1481718166,,", "ClientId"),
        ("18446744073709551616,,GOAL1,1481718166,,", "ClientId"),
        ("１２,,GOAL1,1481718166,,", "ClientId"),
        ("1.3e17,,GOAL1,1481718166,,", "ClientId"),
        (",-5,GOAL1,1481718166,,", "Yclid"),
        (",99999999999999999999,GOAL1,1481718166,,", "Yclid"),
        (",,GOAL1,1481718166,,", "identifier"),
        ("1,,,1481718166,,", "Target"),
        ("1,,a/b,1481718166,,", "Target"),
        ("1,,a\\b,1481718166,,", "Target"),
        ("1,,a&b,1481718166,,", "Target"),
        ("1,,a#b,1481718166,,", "Target"),
        ("1,,a?b,1481718166,,", "Target"),
        ("1,,a=b,1481718166,,", "Target"),
        ('1,,"a""b",1481718166,,', "Target"),
        ("1,,metrika_refuses,1481718166,,", "metrika_refuses"),
        ("1,,GOAL1,,,", "DateTime"),
        ("1,,GOAL1,2024-01-01,,", "DateTime"),
        ("1,,GOAL1,1800000001,,", "future"),
        ("1,,GOAL1,1481718166000,,", "future"),
        ('1,,GOAL1,1481718166,"123,45",RUB', "Price"),
        ("1,,GOAL1,1481718166,-1,RUB", "Price"),
        ("1,,GOAL1,1481718166,1 000.00,RUB", "Price"),
        ("1,,GOAL1,1481718166,1,rub", "Currency"),
        ("1,,GOAL1,1481718166,1,RUR5", "Currency"),
        ("1,,GOAL1,1481718166,1", "5 fields for 6 columns"),
        ("1,,GOAL1\0,1481718166,,", "Target"),
        ("1,,GOAL1\0001481718166,,", "5 fields for 6 columns"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named_with_its_line_and_column(cells: str, column: str) -> None:
    good = "1,,GOAL1,1481718166,,"
    found = read(f"ClientId,Yclid,Target,DateTime,Price,Currency\n{good}\n{cells}\n{good}\n".encode())

    assert [type(entry) for entry in found] == [Row, BadRow, Row]
    assert isinstance(found[1], BadRow)
    assert found[1].line == 3
    assert column in found[1].reason


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "first line"),
        (b"ClientId,Target,DateTime\n", 1, "no row"),
        (b"clientid,Target,DateTime\n1,GOAL1,1481718166\n", 1, "unknown column 'clientid'"),
        (b"ClientID,Target,DateTime\n1,GOAL1,1481718166\n", 1, "unknown column"),
        (b"1,GOAL1,1481718166\n", 1, "unknown column"),
        (b"ClientId;Target;DateTime\n1;GOAL1;1481718166\n", 1, "unknown column"),
        (b"Target,DateTime\nGOAL1,1481718166\n", 1, "identifier column is missing"),
        (b"ClientId,DateTime\n1,1481718166\n", 1, "Target is missing"),
        (b"ClientId,Target\n1,GOAL1\n", 1, "DateTime is missing"),
        (b"ClientId,Target,DateTime,Target\n1,GOAL1,1481718166,GOAL1\n", 1, "twice"),
    ],
)
def test_a_file_without_the_exact_column_names_is_refused_as_a_whole(content: bytes, line: int, reason: str) -> None:
    found = only(content)

    assert isinstance(found, BadFile)
    assert found.line == line
    assert reason in found.reason


@pytest.mark.parametrize("bad_line", [b"1,\xc7\xe0\xff\xe2\xea\xe0,1481718166\n", b'1,"GOAL1,1481718166\n'])
def test_bytes_that_are_not_utf8_or_not_csv_end_the_file_at_their_line(bad_line: bytes) -> None:
    found = read(b"ClientId,Target,DateTime\n1,GOAL1,1481718166\n" + bad_line)

    assert isinstance(found[0], Row)
    assert isinstance(found[-1], BadFile)
    assert found[-1].line == 3


def test_a_byte_order_mark_can_be_refused() -> None:
    content = b"\xef\xbb\xbfClientId,Target,DateTime\n1,GOAL1,1481718166\n"

    assert isinstance(only(content, Configuration(accept_byte_order_mark=False)), BadFile)


@pytest.mark.parametrize("header", [b"ClientID,target,datetime,price", b"clientid,Target,DATETIME, Price"])
def test_another_spelling_of_the_columns_is_refused_or_taken_as_configured(header: bytes) -> None:
    content = header + b"\n1,GOAL1,1481718166,5\n"

    assert isinstance(only(content), BadFile)
    row = only(content, Configuration(header_spelling="lenient"))
    assert isinstance(row, Row)
    assert (row.client_id, row.price) == ("1", "5")


def test_a_negative_price_is_refused_or_taken_as_configured() -> None:
    content = b"ClientId,Target,DateTime,Price\n1,GOAL1,1481718166,-5.50\n"

    assert isinstance(only(content), BadRow)
    row = only(content, Configuration(accept_negative_price=True))
    assert isinstance(row, Row)
    assert row.price == "-5.50"


def test_a_currency_that_metrika_does_not_know_costs_the_price_too() -> None:
    row = only(b"ClientId,Target,DateTime,Price,Currency\n1,GOAL1,1481718166,5,XXX\n")

    assert isinstance(row, Row)
    assert (row.price, row.currency) == (None, None)
    only_roubles = Configuration(supported_currencies=frozenset({"RUB"}))
    row = only(b"ClientId,Target,DateTime,Price,Currency\n1,GOAL1,1481718166,5,USD\n", only_roubles)
    assert isinstance(row, Row)
    assert row.price is None


def test_a_reason_never_repeats_an_identifier() -> None:
    found = only(b"ClientId,Target,DateTime\nperson@example.org,GOAL1,1481718166\n")

    assert isinstance(found, BadRow)
    assert "person" not in found.reason
