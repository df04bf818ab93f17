"""Records as somebody might write them who is none of us: keys, values and headers of every kind that Kafka takes."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from schemas.records import Headers, Incoming, Outgoing

NOW_MS: Final = 1_790_000_000_000

# Every header that some process or command of ours looks at.
NAMES: Final = (
    *("event_id", "webhook_id", "received_at", "content-type", "query", "delivery_key", "quarantine.shown", "run"),
    *("webhook-id", "webhook-timestamp", "webhook-signature", "x-signature-256", "x-signature-timestamp"),
    *("waiting.attempt", "waiting.since", "waiting.due", "waiting.released", "waiting.over"),
    *("waiting.raw.partition", "waiting.raw.offset", "waiting.raw.timestamp"),
    *("dlq.id", "dlq.original.topic", "dlq.original.partition", "dlq.original.offset", "dlq.original.timestamp"),
    *("dlq.stage", "dlq.error.class", "dlq.error.message", "dlq.attempts", "dlq.effects.done", "dlq.cut"),
    *("dlq.first.failed.at", "dlq.last.failed.at", "dlq.schema.version", "__connect.errors.topic"),
    *("dlq.replay.count", "dlq.replay.run.id", "dlq.replay.fixed", "dlq.replay.mark"),
)
# Numbers of any length, of any alphabet and of neither; texts that are none.
TEXTS: Final = (
    *(b"", b"0", b"1", b"-1", b"+1", b" 1", b"1_000", b"1e3", b"0x1", b"1.0", b"nan", b"\0", b"\xff\xfe", b"9" * 5000),
    *(
        b"0" * 5000,
        b"9223372036854775807",
        b"9223372036854775808",
        b"2147483647",
        b"2147483648",
        b"18446744073709551616",
    ),
    *("\u0663".encode(), "\u00b2".encode(), "\uff11".encode(), "\u202e1".encode(), b"x" * 20_000, b"true", b"false"),
    *(b"crm.events.raw", b"crm.conversions", b"goalpost.webhooks", b"web.sessions", b"crm.events.waiting", b"http"),
    *(b"00000000-0000-4000-8000-000000000001", b"urn:uuid:00000000-0000-4000-8000-000000000001", b"2026-01-01T00:00Z"),
)
KEYS: Final = (
    *(
        None,
        b"",
        b"s:",
        b"u:",
        b"e:",
        b"s:1",
        b"u:1",
        b"run:1",
        b"run:",
        b"\xff",
        b"s:\xff",
        b"k" * 100_000,
        b"unnamed",
    ),
    *(b"00000000-0000-4000-8000-00000000000a", b"crm.events.raw.dlq:0:0"),
)
VALUES: Final = (
    *(None, b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\7", b"\0\xff\xff\xff\xff", b"not avro", b"\0\0\0\0\7" + b"\xff" * 300),
    *(
        b"\0\0\0\0\7" + b"\0" * 300,
        b"\0\0\0\0\7" + b"\x7f" * 300,
        b"\0\0\0\0\7" + b"\2" * 300,
        b"\0\0\0\0\x09" + b"\2" * 9,
    ),
    *(b"[" * 20_000, b'{"a":' * 20_000, b"1" * 5000, b'{"a": 1' + b"0" * 5000 + b"}", b'{"\\ud800": "\\ud800"}'),
    *(b"null", b"[]", b"{}", b"NaN", b'"\\u0000"', b"replayed", b"fixed", b"settled", b"discarded", b"burnt"),
    *(
        b'{"run_id": "1"}',
        b'{"run_id": 1, "by": [], "started_at": {}, "selection": null}',
        b"\xef\xbb\xbf{}",
        b"a=1&a=2",
    ),
    b'{"run_id": "1", "by": "b", "started_at": "s", "selection": "s", "counts": {"a": "many"}, "new": 1}',
)
TIMES: Final = (-1, 0, 1, NOW_MS, 2**62, 2**63 - 1, -(2**63))

_texts = st.sampled_from(TEXTS) | st.binary(max_size=12) | st.none()
_names = st.sampled_from(NAMES) | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)
headers: st.SearchStrategy[Headers] = st.lists(st.tuples(_names, _texts), max_size=10).map(tuple)


@st.composite
def mutated(draw: st.DrawFn, value: bytes) -> bytes:
    """A value with a few bytes changed, cut, doubled or put in."""
    changed = bytearray(value)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if changed:
                changed[at] = draw(st.integers(0, 255))
            case 1:
                del changed[at : at + draw(st.integers(1, 9))]
            case 2:
                changed[at:at] = changed[at : at + 9]
            case _:
                changed[at:at] = draw(st.binary(max_size=12))
    return bytes(changed)


@st.composite
def records(draw: st.DrawFn, topic: str, *good: Incoming | Outgoing) -> Incoming:
    """Records of ``topic``: of nobody's making, or made from ``good`` ones by changing some of their parts."""
    base = draw(st.sampled_from(good)) if good else None
    value = draw(st.sampled_from(VALUES) | st.binary(max_size=40))
    key, found = draw(st.sampled_from(KEYS) | st.binary(max_size=12)), draw(headers)
    if base is not None and draw(st.booleans()):
        value = draw(mutated(base.value)) if base.value is not None else None
    if base is not None and draw(st.booleans()):
        key = base.key
    if base is not None and draw(st.booleans()):
        found = (*base.headers, *found) if draw(st.booleans()) else (*found, *base.headers)
    return Incoming(
        topic=topic,
        partition=draw(st.integers(0, 7)),
        offset=draw(st.integers(0, 2**40)),
        timestamp=draw(st.sampled_from(TIMES)),
        key=key,
        value=value,
        headers=found,
    )
