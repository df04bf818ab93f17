"""CDP orders over real HTTP: the documented answer, FAILED with status 200, and what became of the orders."""

import requests

from tests.unit.sandbox.metrika.client import Client
from tests.unit.sandbox.metrika.test_orders import SAMPLE


def send(client: Client, content: bytes, *, counter: int, **query: str) -> requests.Response:
    return requests.post(
        f"{client.url}/cdp/api/v1/counter/{counter}/data/simple_orders",
        params={"merge_mode": "SAVE", **query},
        files={"file": ("orders.csv", content, "text/csv")},
        headers=client.headers,
        timeout=10,
    )


def test_the_documented_sample_passes_in_the_documented_shape_and_is_listed(client: Client) -> None:
    uploading = send(client, SAMPLE, counter=501, delimiter_type="COMMA").json()["uploading"]

    assert list(uploading) == [
        "uploading_id",
        "datetime",
        "api_validation_status",
        "elements_count",
        "entity_type",
        "uploading_format",
        "uploading_source",
    ]
    assert (uploading["api_validation_status"], uploading["elements_count"]) == ("PASSED", 3)
    listed = requests.get(
        f"{client.url}/cdp/api/v1/counter/501/last_uploadings", params={"limit": 5}, headers=client.headers, timeout=10
    )
    assert listed.json() == {"uploadings": [uploading]}
    orders = {order["id"]: order for order in client.control("orders", counter=501)["orders"]}
    assert len(orders) == 3
    assert (orders["s_ord2"]["order_status"], orders["s_ord2"]["currency"]) == ("PAID", "EUR")


def test_a_file_that_breaks_a_rule_fails_with_status_200_and_stores_nothing(client: Client) -> None:
    answer = send(client, SAMPLE + b"s_ord4,yesterday,,1,,,,,,,\n", counter=502)

    assert answer.status_code == 200
    assert answer.json()["uploading"]["api_validation_status"] == "FAILED"
    assert client.control("orders", counter=502) == {"orders": []}


def test_an_order_can_be_brought_up_to_date(client: Client) -> None:
    send(client, b"id,create_date_time,client_ids,order_status\na,2024-01-10,1,IN_PROGRESS\n", counter=503)
    paid = b"id,create_date_time,client_ids,order_status,revenue\na,2024-01-11,2,PAID,99.50\n"
    assert send(client, paid, counter=503, merge_mode="APPEND").status_code == 200

    (order,) = client.control("orders", counter=503)["orders"]
    assert (order["order_status"], order["revenue"], order["client_ids"]) == ("PAID", "99.50", ["1", "2"])
    assert (order["create_date_time"], order["deliveries"]) == ("2024-01-10 00:00:00", 2)


def test_wrong_parameters_are_refused_by_name(client: Client) -> None:
    for query in ({"merge_mode": "REPLACE"}, {"delimiter_type": "TAB"}):
        answer = send(client, SAMPLE, counter=504, **query)
        assert (answer.status_code, answer.json()["errors"][0]["error_type"]) == (400, "invalid_parameter")
