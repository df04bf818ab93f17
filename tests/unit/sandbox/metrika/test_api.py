"""The documented API over real HTTP: literal bodies, lists, statuses, tokens, and what the control routes show."""

import time

import requests

from sandbox.metrika.uploads import CHUNK_ROWS
from tests.unit.sandbox.metrika.client import COUNTER, CSV, DOCUMENTED_SAMPLE, Client, eventually

INVALID_TOKEN_BODY = (
    b'{"errors":[{"error_type":"invalid_token","message":"Invalid oauth_token"}],'
    b'"code":403,"message":"Invalid oauth_token"}'
)
NO_OBJECT_BODY = (
    b'{"errors":[{"error_type":"invalid_parameter","message":"No object with specified ID."}],'
    b'"code":400,"message":"No object with specified ID."}'
)


def test_the_documented_sample_is_accepted_and_answered_in_the_documented_shape(client: Client) -> None:
    before = client.control("accepted", counter=COUNTER)["total"]
    answer = client.upload(DOCUMENTED_SAMPLE, comment="mkb1Пакет", type="BASIC", client_id_type="CLIENT_ID")

    assert answer.status_code == 200
    uploading = answer.json()["uploading"]
    assert list(answer.json()) == ["uploading"]
    assert list(uploading) == [
        "id",
        "create_time",
        "source_quantity",
        "line_quantity",
        "comment",
        "type",
        "client_id_type",
        "status",
        "goal_not_found_quantity",
        "user_not_found_quantity",
        "linked_quantity",
    ]
    assert time.strptime(uploading.pop("create_time"), "%Y-%m-%dT%H:%M:%SZ")
    uploading_id = uploading.pop("id")
    assert uploading == {
        "source_quantity": 6,
        "line_quantity": 6,
        "comment": "mkb1Пакет",
        "type": "BASIC",
        "client_id_type": "CLIENT_ID",
        "status": "PREPARED",
        "goal_not_found_quantity": 0,
        "user_not_found_quantity": 0,
        "linked_quantity": 0,
    }
    accepted = client.control("accepted", upload=uploading_id)
    assert accepted["total"] == 6
    assert accepted["rows"][0] == {
        "uploading_id": uploading_id,
        "counter_id": COUNTER,
        "comment": "mkb1Пакет",
        "line": 2,
        "ClientId": "133591247640966458",
        "UserId": None,
        "Yclid": None,
        "PurchaseId": None,
        "Target": "GOAL1",
        "DateTime": 1481718166,
        "Price": "123.45",
        "Currency": "RUB",
    }
    assert client.control("accepted", counter=COUNTER)["total"] == before + 6
    assert client.control("accepted", upload=uploading_id, target="GOAL3", id="148059425477661429")["total"] == 1
    assert [row["line"] for row in client.control("accepted", upload=uploading_id, limit=2, offset=3)["rows"]] == [5, 6]


def test_a_status_moves_on_to_processed_and_its_counts_appear(client: Client) -> None:
    client.configure(
        uploaded_after_seconds=0.1, matched_after_seconds=0.2, processed_after_seconds=0.3, every_goal_known=False
    )
    uploading_id = client.upload(CSV + b"1,crm_conversion,1481718166,,\n").json()["uploading"]["id"]
    path = f"offline_conversions/uploading/{uploading_id}"

    eventually(lambda: client.management(path).json()["uploading"]["status"] == "PROCESSED")
    uploading = client.management(path).json()["uploading"]
    assert (uploading["goal_not_found_quantity"], uploading["linked_quantity"]) == (1, 1)
    assert client.management("offline_conversions/uploadings", limit=1).json() == {"uploadings": [uploading]}


def test_nobody_matched_is_a_linkage_failure(client: Client) -> None:
    client.configure(processed_after_seconds=0, unknown_identifiers=["133591247640966458"])
    uploading = client.upload().json()["uploading"]

    assert uploading["status"] == "LINKAGE_FAILURE"
    assert (uploading["user_not_found_quantity"], uploading["linked_quantity"]) == (1, 0)


def test_a_list_may_show_uploads_late_and_without_their_comment(client: Client) -> None:
    def listed() -> list[dict[str, object]]:
        return list(client.management("offline_conversions/uploadings", limit=1).json()["uploadings"])

    client.configure(listed_after_seconds=3600)
    uploading = client.upload(comment="late").json()["uploading"]
    assert listed() == []
    client.configure(listed_after_seconds=0, list_shows_comments=False)
    (found,) = listed()
    assert (found["id"], "comment" in found) == (uploading["id"], False)
    client.configure(list_shows_comments=True)
    assert listed()[0]["comment"] == "late"


def test_lists_page_by_limit_offset_and_type(client: Client) -> None:
    ids = [client.upload(type="CHATS").json()["uploading"]["id"] for _ in range(3)]

    def listed(**query: str | int) -> list[int]:
        found = client.management("offline_conversions/uploadings", **query).json()["uploadings"]
        return [uploading["id"] for uploading in found]

    assert listed(type="CHATS") == ids[::-1]
    assert listed(type="CHATS", limit=1, offset=1) == [ids[1]]
    assert listed(type="CALLS") == []


def test_an_unknown_upload_is_the_observed_400(client: Client) -> None:
    answer = client.management("offline_conversions/uploading/999999999")
    assert (answer.status_code, answer.content) == (400, NO_OBJECT_BODY)

    foreign = client.upload(counter=7).json()["uploading"]["id"]
    assert client.management(f"offline_conversions/uploading/{foreign}").content == NO_OBJECT_BODY


def test_a_revoked_token_is_the_observed_403_and_a_missing_one_the_documented_401(client: Client) -> None:
    client.configure(revoked_tokens=["anything"])
    answer = client.upload()
    assert (answer.status_code, answer.content) == (403, INVALID_TOKEN_BODY)

    client.headers = {}
    answer = client.upload()
    assert (answer.status_code, answer.json()["errors"][0]["error_type"]) == (401, "unauthorized")


def test_a_bad_row_refuses_the_whole_file_and_names_the_line(client: Client) -> None:
    before = client.rows()
    answer = client.upload(DOCUMENTED_SAMPLE + b"1,metrika_refuses,1481718166,,\n")

    message = "Invalid uploading: line 8: Target metrika_refuses is among this simulator's rejected_targets"
    assert answer.status_code == 400
    assert answer.json() == {
        "errors": [{"error_type": "invalid_uploading", "message": message}],
        "code": 400,
        "message": message,
    }
    assert client.rows() == before


def test_a_bad_row_at_the_end_of_a_large_file_leaves_none_of_its_rows(client: Client) -> None:
    good = b"1,large_file,1481718166\n" * (CHUNK_ROWS + 1)
    answer = client.upload(b"ClientId,Target,DateTime\n" + good + b"1,large_file,\n")

    assert answer.json()["message"] == f"Invalid uploading: line {CHUNK_ROWS + 3}: DateTime is empty"
    next_upload = client.upload().json()["uploading"]["id"]
    assert client.control("accepted", upload=next_upload)["total"] == 1
    assert client.control("accepted", target="large_file")["total"] == 0


def test_a_bad_row_can_lower_the_line_quantity_instead(client: Client) -> None:
    client.configure(bad_row="lowers_line_quantity")
    uploading = client.upload(DOCUMENTED_SAMPLE + b"1,a=b,1481718166,,\n").json()["uploading"]

    assert (uploading["source_quantity"], uploading["line_quantity"]) == (7, 6)


def test_a_request_without_a_file_is_refused(client: Client) -> None:
    address = f"{client.url}/management/v1/counter/{COUNTER}/offline_conversions/upload"
    answer = requests.post(address, data=CSV, headers=client.headers, timeout=10)

    assert (answer.status_code, answer.json()["errors"][0]["error_type"]) == (400, "missing_parameter")


def test_goals_are_listed_by_the_identifier_that_target_must_say(client: Client) -> None:
    client.configure(goals=["spam_lead"])

    assert client.management("goals").json() == {
        "goals": [
            {"id": 1, "name": "spam_lead", "type": "action", "conditions": [{"type": "exact", "url": "spam_lead"}]}
        ]
    }


def test_a_row_with_another_price_overwrites_and_the_same_row_again_is_doubled(client: Client) -> None:
    before = client.control("summary")
    first = b"ClientId,Target,DateTime,Price,Currency\n424242,twice,1481718166,%s,RUB\n"
    for price in (b"1.00", b"2.00", b"2.00", b"1.00"):
        client.upload(first % price)

    after = client.control("summary")
    counted = {name: after[name] - before[name] for name in ("uploads", "rows", "distinct_rows")}
    assert counted == {"uploads": 4, "rows": 4, "distinct_rows": 1}
    assert after["overwritten_rows"] - before["overwritten_rows"] == 2
    assert after["doubled_rows"] - before["doubled_rows"] == 1
    (conversion,) = client.control("conversions", target="twice", at_least=2)["conversions"]
    assert (conversion["deliveries"], conversion["Price"]) == (4, "1.00")
    (counter,) = (one for one in client.control("counters") if one["counter"] == COUNTER)
    assert (counter["overwritten_rows"], counter["doubled_rows"]) >= (2, 1)


def test_tokens_are_refreshed_once_and_strict_mode_takes_no_others(client: Client) -> None:
    client.configure(strict_tokens=True)
    assert client.upload().content == INVALID_TOKEN_BODY
    pair = requests.post(f"{client.url}/_control/tokens", timeout=10).json()

    def refresh() -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        return requests.post(f"{client.url}/token", data=form, auth=("id", "secret"), timeout=10)

    refreshed = refresh()
    assert refreshed.status_code == 200
    assert sorted(refreshed.json()) == ["access_token", "expires_in", "refresh_token", "token_type"]
    client.headers = {"Authorization": f"OAuth {refreshed.json()['access_token']}"}
    assert client.upload().status_code == 200
    again = refresh()
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
