"""The code flow over real HTTP, as a terminal and as a web application go through it."""

import re
from urllib.parse import parse_qs, urlsplit

import requests

from tests.unit.sandbox.metrika.client import Client


def consent(client: Client, *, decision: str = "allow", **query: str) -> requests.Response:
    asked = {"response_type": "code", "client_id": "app", **query}
    page = requests.get(f"{client.url}/authorize", params=asked, timeout=10)
    assert page.status_code == 200
    form = dict(re.findall(r'name="(\w+)" (?:list="logins" )?value="([^"]*)"', page.text))
    form |= {"login": "shop", "decision": decision}
    return requests.post(f"{client.url}/authorize", data=form, allow_redirects=False, timeout=10)


def test_a_terminal_gets_a_code_from_the_page_and_tokens_for_it(client: Client) -> None:
    client.configure(strict_tokens=True, oauth_clients={"app": "secret"})
    answer = consent(client)
    page = requests.get(client.url + answer.headers["Location"], timeout=10)
    found = re.search(r"<code>(\w+)</code>", page.text)
    assert found is not None

    form = {"grant_type": "authorization_code", "code": found[1]}
    tokens = requests.post(f"{client.url}/token", data=form, auth=("app", "secret"), timeout=10).json()
    assert sorted(tokens) == ["access_token", "expires_in", "refresh_token", "token_type"]
    client.headers = {"Authorization": f"OAuth {tokens['access_token']}"}
    assert client.upload().status_code == 200
    assert client.control("requests")[-1]["login"] == "shop"


def test_a_web_application_gets_code_and_state_or_the_denial_at_its_address(client: Client) -> None:
    asked = {"redirect_uri": "http://127.0.0.1:1/back?x=1", "state": 'a"b'}
    allowed, denied = consent(client, **asked), consent(client, decision="deny", **asked)

    answers = [parse_qs(urlsplit(one.headers["Location"]).query) for one in (allowed, denied)]
    assert allowed.headers["Location"].startswith("http://127.0.0.1:1/back?x=1&code=")
    assert answers[0]["state"] == ["a&quot;b"] or answers[0]["state"] == ['a"b']
    assert answers[1]["error"] == ["access_denied"]


def test_an_unknown_application_and_another_flow_are_told_so(client: Client) -> None:
    client.configure(oauth_clients={"app": "secret"})
    for query in ({"response_type": "code", "client_id": "x"}, {"response_type": "token", "client_id": "app"}):
        assert requests.get(f"{client.url}/authorize", params=query, timeout=10).status_code == 400


def test_a_code_can_be_had_without_the_page(client: Client) -> None:
    code = client.post("codes", {"client_id": "app", "login": "agency"}).json()["code"]
    form = {"grant_type": "authorization_code", "code": code, "client_id": "app", "client_secret": "s"}

    assert requests.post(f"{client.url}/token", data=form, timeout=10).status_code == 200


def test_logging_out_everywhere_ends_access_and_refresh(client: Client) -> None:
    tokens = client.post("tokens", {"login": "leaving"}).json()
    ended = requests.delete(f"{client.url}/_control/tokens", params={"login": "leaving"}, timeout=10).json()
    assert ended == {"ended": 2}

    client.headers = {"Authorization": f"OAuth {tokens['access_token']}"}
    assert client.upload().status_code == 403
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refused = requests.post(f"{client.url}/token", data=form, auth=("app", "s"), timeout=10)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
