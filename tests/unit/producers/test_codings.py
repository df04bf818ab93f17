"""A content-coding is undone wholly or not at all: nothing behind a member, or of a damaged one, is lost with a 2xx."""

from __future__ import annotations

import gzip
import time
import zlib

import httpx
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goalpost.dead_letters.bodies import Parser
from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.remake import Unreadable
from producers.codings import MEMBERS_LIMIT, Undecoded, decoded, looks_plain, readable_part
from producers.dialects import DIALECTS
from schemas.events import Webhook
from schemas.records import Incoming, Outgoing, header
from schemas.topics import REJECTED
from tests.unit.producers.parts import RAW_CODEC, SECRET, WEBHOOK, Service, webhook

LIMIT = 100_000
HOOK = f"/hooks/{WEBHOOK.webhook_id}/{SECRET}"
CRMS = [name for name, dialect in DIALECTS.items() if not dialect.refuses]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def gzipped(*members: bytes) -> bytes:
    return b"".join(gzip.compress(one, mtime=0) for one in members)


def bare_deflate(content: bytes) -> bytes:
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflating.compress(content) + deflating.flush()


def why(sent: bytes, coding: str = "gzip") -> str:
    found = decoded(sent, coding, limit_bytes=LIMIT)
    assert isinstance(found, Undecoded), found
    return found.why


@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=12), padding=st.sampled_from([0, 1, 511]))
def test_members_are_one_body_whatever_is_in_them(parts: list[bytes], padding: int) -> None:
    assert decoded(gzipped(*parts) + b"\0" * padding, "gzip", limit_bytes=LIMIT) == b"".join(parts)


@given(content=st.binary(min_size=1, max_size=3000), behind=st.binary(min_size=1, max_size=100))
@example(content=b"a", behind=b"\n")
@example(content=b"a", behind=b"\0\0x")
@example(content=b"a", behind=b"\x1f\x8b")
@example(content=b"a", behind=gzip.compress(b"b")[:-1])
@settings(deadline=None)
def test_whatever_stands_behind_the_end_is_either_a_member_or_refused(content: bytes, behind: bytes) -> None:
    for sent, coding in ((gzipped(content), "gzip"), (zlib.compress(content), "deflate")):
        found = decoded(sent + behind, coding, limit_bytes=LIMIT)
        assert isinstance(found, Undecoded) or not behind.strip(b"\0")


@given(content=st.binary(max_size=2000), cut=st.integers(1, 17))
@settings(deadline=None)
def test_a_body_that_ends_early_is_refused_wherever_it_ends(content: bytes, cut: int) -> None:
    for sent, coding in ((gzipped(content, content), "gzip"), (zlib.compress(content), "deflate")):
        short = sent[: -min(cut, len(sent) - 1)]
        assert isinstance(decoded(short, coding, limit_bytes=LIMIT), Undecoded)


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        ("deflate", zlib.compress(b"abc")),
        ("deflate", bare_deflate(b"abc")),
        ("Deflate", gzipped(b"abc")),
        ("gzip", zlib.compress(b"abc")),
        ("identity, gzip", gzipped(b"abc")),
        ("gzip, utf-8", gzipped(b"ab", b"", b"c")),
        ("identity", b"abc"),
    ],
)
def test_each_way_to_write_a_known_coding_is_understood(coding: str, sent: bytes) -> None:
    assert decoded(sent, coding, limit_bytes=LIMIT) == b"abc"


def test_nothing_at_all_is_nothing_in_every_coding() -> None:
    assert [decoded(b"", coding, limit_bytes=LIMIT) for coding in ("gzip", "deflate", "identity")] == [b""] * 3


def test_each_fault_is_called_by_its_name() -> None:
    assert "ends early" in why(gzipped(b"a", b"b")[:-3])
    assert "follows the end" in why(gzipped(b"a") + b"b")
    assert "not what its Content-Encoding says" in why(b"plain")
    assert f"{MEMBERS_LIMIT} members" in why(gzipped(*[b""] * (MEMBERS_LIMIT + 1)))
    assert "not understood" in why(gzipped(gzipped(b"a")), "gzip, gzip")


def test_the_limit_is_for_all_members_together_and_is_exact() -> None:
    half = b"a" * (LIMIT // 2)
    assert len(decoded(gzipped(half, half), "gzip", limit_bytes=LIMIT)) == LIMIT  # type: ignore[arg-type]  # it is bytes
    found = decoded(gzipped(half, half, b"a"), "gzip", limit_bytes=LIMIT)
    assert isinstance(found, Undecoded)
    assert found.too_large


def test_a_megabyte_of_empty_members_costs_no_more_than_its_size() -> None:
    sent = gzipped(b"") * 52_000
    begin = time.process_time()
    assert isinstance(decoded(sent, "gzip", limit_bytes=2**20), Undecoded)
    assert time.process_time() - begin < 1.0  # copying the rest for each member takes minutes


def test_of_a_damaged_body_nearly_everything_before_the_damage_is_readable() -> None:
    content = bytes(range(256)) * 20
    assert readable_part(gzipped(content)[:-1], limit_bytes=LIMIT) == content
    assert readable_part(gzipped(b"ab") + b"garbage", limit_bytes=LIMIT) == b"ab"
    assert not looks_plain(gzipped(content))


async def answered(service: Service, body: bytes, **headers: str) -> httpx.Response:
    async with service.client() as client:
        return await client.post(HOOK, content=body, headers={**FORM, **headers})


@pytest.mark.parametrize(
    "damaged", [gzipped(b"a=1")[:-1], gzipped(b"a=1") + b"&b=2", gzipped(b"ym_uid=5") + gzipped(b"x")[:9]]
)
@pytest.mark.parametrize("dialect", CRMS)
async def test_a_crm_is_answered_200_and_its_damaged_body_is_kept_with_the_reason(dialect: str, damaged: bytes) -> None:
    service = Service(webhook(dialect=dialect))
    answer = await answered(service, damaged, **{"Content-Encoding": "gzip"})
    (record,) = service.publisher.records
    assert (answer.status_code, answer.json()["event_ids"]) == (200, [])
    assert "compressed body" in answer.json()["rejected"]
    assert (record.topic, header(record.headers, "dlq.error.class")) == (REJECTED.name, "body_unparseable")
    if DIALECTS[dialect].stored is None:
        assert (record.value, header(record.headers, "content-encoding")) == (damaged, "gzip")


@pytest.mark.parametrize("damaged", [gzipped(b"{}")[:-1], gzipped(b'{"session_id":"a"}') + b"{}"])
async def test_a_sender_that_can_be_refused_is_refused(damaged: bytes) -> None:
    service = Service()
    answer = await answered(service, damaged, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, service.publisher.records) == (400, [])


async def test_two_documents_in_two_members_are_no_document() -> None:
    service = Service()
    two = gzipped(b'{"session_id":"a","goal_name":"g"}', b'{"session_id":"b","goal_name":"g"}')
    answer = await answered(service, two, **{"Content-Encoding": "gzip", "Content-Type": "application/json"})
    assert (answer.status_code, service.publisher.records) == (400, [])


async def test_a_document_that_two_members_hold_is_one_conversion_and_is_stored_whole() -> None:
    service = Service()
    await answered(service, gzipped(b'{"session_id":', b'"a"}'), **{"Content-Encoding": "gzip"})
    (event,) = service.publisher.events
    assert (event.session_id, event.body) == ("a", b'{"session_id":"a"}')


async def test_plain_text_that_claims_to_be_compressed_is_read_as_it_stands() -> None:
    service = Service(webhook(dialect="zapier"))
    await answered(service, b"ym_uid=5&goal_name=paid", **{"Content-Encoding": "gzip"})
    (event,) = service.publisher.events
    assert event.ym_uid == "5"


async def test_what_may_not_be_stored_is_not_stored_of_a_damaged_body_either() -> None:
    service = Service(webhook(dialect="tilda"))
    sent = gzipped(b"tranid=1&COOKIES=PHPSESSID%3Dvery-secret&name=" + bytes(range(97, 122)) * 300)[:-4]
    await answered(service, sent, **{"Content-Encoding": "gzip"})
    (record,) = service.publisher.records
    assert record.value is not None
    assert record.value.startswith(b"tranid=1&COOKIES=&name=abc")
    assert header(record.headers, "content-encoding") is None


def as_read(record: Outgoing) -> Incoming:
    return Incoming(
        topic=record.topic,
        partition=0,
        offset=0,
        timestamp=0,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


async def test_a_replay_undoes_the_coding_itself_or_takes_the_body_that_a_fix_has_decoded() -> None:
    service = Service(webhook(dialect="zapier"))
    whole = gzipped(b"ym_uid=5&order_id=7")
    await answered(service, whole[:-1], **{"Content-Encoding": "gzip"})
    letter = letter_of(as_read(service.publisher.records[0]))
    configured: Webhook = webhook(dialect="zapier")
    parser = Parser(webhook=lambda _: configured, codec=lambda: RAW_CODEC)

    with pytest.raises(Unreadable, match="ends early"):
        parser(letter, letter.record.value or b"", "run", fixed=False)
    for mended in (whole, b"ym_uid=5&order_id=7"):
        records = parser(letter, mended, "run", fixed=True)
        assert isinstance(records, tuple)
        assert RAW_CODEC.decode(records[0].value).order_id == "7"


@pytest.mark.parametrize("path", ["/sessions", "/sessions/supabase"])
async def test_session_intake_reads_all_members_and_refuses_what_follows_them(path: str) -> None:
    service = Service()
    async with service.client() as client:
        key = {"X-Write-Key": "write-key-of-the-site", "Content-Encoding": "gzip"}
        row = {"id": "r1", "session_id": "s1", "timestamp": "2026-09-01T10:00:00+00:00"}
        content = orjson.dumps(
            {"session_id": "s1"}
            if path == "/sessions"
            else {"type": "INSERT", "table": "user_analytics", "record": row}
        )
        taken = await client.post(path, content=gzipped(content[:9], content[9:]), headers=key)
        refused = await client.post(path, content=gzipped(content) + b"{}", headers=key)
    assert (taken.status_code, refused.status_code, len(service.publisher.sessions)) == (202, 400, 1)
