"""An address that is joined, copied or spelt a little differently means the webhook that it means."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from producers.addresses import hook_of, meant, spellings
from producers.dialects.pairs import pairs_of
from producers.door import DROP_IN, SESSIONS, SUPABASE
from runtime.vault import hash_of
from tests.unit.producers.parts import SECRET, WEBHOOK, WRITE_KEY, Service, webhook

ID = WEBHOOK.webhook_id
CONVERSION = {"session_id": "s1", "goal_name": "paid"}
BEARER = {"Authorization": f"Bearer {SECRET}"}

SAME_HOOK = [
    f"/hooks/{ID}/{SECRET}",
    f"//hooks/{ID}/{SECRET}",
    f"///hooks//{ID}/{SECRET}",
    f"/hooks//{ID}//{SECRET}",
    f"/hooks/{ID}///{SECRET}",
    f"/hooks/{ID}/{SECRET}/",
    f"/hooks/{ID}/{SECRET}///",
    f"/Hooks/{ID}/{SECRET}",
    f"/HOOKS/{ID.upper()}/{SECRET}",
    f"/hooks/{{{ID}}}/{SECRET}",
    f"/hooks/{ID.replace('-', '')}/{SECRET}",
    f"/hooks/{ID}/{SECRET}%20",
    f"/hooks/{ID}/{SECRET}%0A",
    f"/hooks/{ID}/{SECRET}%0D%0A",
    f"/hooks/{ID}/{SECRET}%E2%80%8B",
    f"/hooks/{ID}/%22{SECRET}%22",
    f"/hooks/{ID}%20/%20{SECRET}",
    f"/%20hooks/{ID}/{SECRET}",
    f"/hooks%2F{ID}%2F{SECRET}",
    f"/hooks/{ID}%2F{SECRET}",
    f"/hooks/{ID}/{SECRET.replace('_', '%5F')}",
    f"/hooks/{ID}/{SECRET.replace('_', '%255F')}",
    f"/hooks/{ID}?token={SECRET}",
    f"/hooks/{ID}/?token={SECRET}%0A",
    f"/hooks/{ID}?utm_source=crm&amp;token={SECRET}",
    f"//hooks/{ID}//?&amp;amp;token={SECRET}",
]


@pytest.mark.parametrize("address", SAME_HOOK)
async def test_a_hooks_address_has_one_meaning_however_it_is_written(address: str) -> None:
    service = Service()
    async with service.client() as client:
        answer = await client.post(f"http://door{address}", json=CONVERSION)
    assert (answer.status_code, len(service.publisher.events)) == (202, 1), answer.text


@pytest.mark.parametrize(
    "address",
    [
        *(
            "//functions/v1/crm-conversion-hook",
            "/functions//v1/crm-conversion-hook/",
            "/Functions/V1/CRM-conversion-hook",
        ),
        *(
            "/functions/v1/crm-conversion-hook%20",
            "/functions/v1/crm-conversion-hook%0A",
            "/functions%2Fv1/crm-conversion-hook",
        ),
    ],
)
async def test_the_address_of_the_seed_may_be_written_as_freely(address: str) -> None:
    service = Service()
    async with service.client() as client:
        answer = await client.post(f"http://door{address}", json=CONVERSION, headers=BEARER)
    assert (answer.status_code, len(service.publisher.events)) == (202, 1)


@pytest.mark.parametrize(
    "address", ["//sessions", "/sessions//", "/Sessions/", "/sessions%20", "/sessions?a=1&amp;write_key={}"]
)
async def test_so_may_that_of_sessions(address: str) -> None:
    service = Service()
    headers = {} if "{}" in address else {"X-Write-Key": WRITE_KEY}
    async with service.client() as client:
        answer = await client.post("http://door" + address.format(WRITE_KEY), json={"session_id": "s"}, headers=headers)
    assert (answer.status_code, len(service.publisher.sessions)) == (202, 1)


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("//sessions///supabase/", SUPABASE),
        ("/sessions/", SESSIONS),
        (DROP_IN.upper(), DROP_IN),
        ("/HOOKS//A/B//", "/hooks//A/B//"),
        ("/", "/"),
        ("//", "/"),
        ("/hooks", "/hooks/"),
        ("/hookshop/a", "/hookshop/a"),
    ],
)
def test_what_a_path_means(path: str, same: str) -> None:
    assert meant(path) == same


@pytest.mark.parametrize("secret", ["ab/cd", "/ab", "ab/", "a//b", "a+b/c==", "a%2Fb", "with space", "UPPER"])
def test_a_secret_with_signs_of_its_own_is_still_the_first_that_is_meant(secret: str) -> None:
    webhook_id, shown = hook_of(f"/hooks/{ID}/{secret}")
    assert (webhook_id, shown[0]) == (ID, secret.lstrip("/") if secret.startswith("//") else secret)


@pytest.mark.parametrize("secret", ["a+b/c+d==", "a/b//c+/"])
async def test_a_secret_in_base64_is_found_in_path_and_query_whoever_has_encoded_it(secret: str) -> None:
    service = Service(webhook(secret_hashes=(hash_of(secret),)))
    encoded = secret.replace("+", "%2B").replace("/", "%2F")
    async with service.client() as client:
        for address in (f"{ID}/{secret}", f"{ID}/{encoded}", f"{ID}?token={secret}", f"{ID}?token={encoded}"):
            answer = await client.post(f"/hooks/{address}", json=CONVERSION)
            assert answer.status_code == 202, address


@pytest.mark.parametrize(
    "address", [f"/hooks/{ID}/{SECRET}x", f"/hooks/{ID}/{SECRET.lower()}", f"/hooks/{ID}/x/{SECRET}"]
)
async def test_another_secret_is_another_secret(address: str) -> None:
    service = Service()
    async with service.client() as client:
        assert (await client.post(f"http://door{address}", json=CONVERSION)).status_code == 401
    assert service.publisher.events == []


@pytest.mark.parametrize(
    "address", ["/hook/x", "/api/hooks/x", f"/x/hooks/{ID}/{SECRET}", "/sessionsx", "/sessions/supabase/x"]
)
async def test_what_is_no_address_of_ours_is_404_as_before(address: str) -> None:
    async with Service().client() as client:
        assert (await client.post(f"http://door{address}", json=CONVERSION)).status_code == 404


async def test_a_secret_in_the_query_is_not_stored_however_its_name_is_written() -> None:
    service = Service()
    async with service.client() as client:
        for name in ("token", "%20Token", "amp;token", "&amp;TOKEN%0A"):
            answer = await client.post(f"/hooks/{ID}?utm=1&{name}={SECRET}", json=CONVERSION)
            assert answer.status_code == 202, name
    assert {event.query for event in service.publisher.events} == {"utm=1"}


def test_a_plain_secret_is_compared_once() -> None:
    assert spellings(SECRET) == (SECRET,)


async def test_amp_in_the_address_is_an_ampersand() -> None:
    service = Service(webhook(dialect="bitrix24"))
    query = "ym_uid=5&amp;goal_name=won&amp;goal_value=1500%7CRUB&amp%3Bstage=WON"
    async with service.client() as client:
        await client.post(f"/hooks/{ID}/{SECRET}?{query}", content=b"document_id[2]=DEAL_5")
        probed = await client.get(f"/hooks/{ID}?a=1&amp;goal_name=won")
    (event,) = service.publisher.events
    assert (event.ym_uid, event.goal_name, event.goal_value, event.stage) == ("5", "won", Decimal(1500), "WON")
    assert event.query == "ym_uid=5&goal_name=won&goal_value=1500%7CRUB&stage=WON"
    assert probed.status_code == 405


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1&amp;b=2", [("a", "1"), ("b", "2")]),
        ("a=1&amp;amp;b=2", [("a", "1"), ("b", "2")]),
        ("a=x%26amp%3By&b=2", [("a", "x&amp;y"), ("b", "2")]),
        ("amplitude=1&amp=2", [("amplitude", "1"), ("amp", "2")]),
        ("", []),
    ],
)
def test_only_what_stands_between_two_fields_is_taken_for_an_ampersand(
    text: str, pairs: Sequence[tuple[str, str]]
) -> None:
    assert pairs_of(text) == list(pairs)


@pytest.mark.parametrize("query", ["UF_CRM_YMCLIENTID=5", "STAGE_ID=WON", "Goal%20Name=won", "OPPORTUNITY=5"])
async def test_a_conversion_by_get_is_told_so_in_whichever_words_it_comes(query: str) -> None:
    async with Service().client() as client:
        assert (await client.get(f"/hooks/{ID}?{query}")).status_code == 405
        assert (await client.get(f"/hooks/{ID}?utm=1")).status_code == 200
