"""HMAC signatures, with the vectors of the schemes' own libraries."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from producers.signature import TOLERANCE_SECONDS, keys_of, signed, verified

# From the test suite of the Standard Webhooks reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
AT = 1_614_265_330
HEADERS = {
    b"webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek",
    b"webhook-timestamp": b"1614265330",
    b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def _valid(
    headers: dict[bytes, bytes],
    body: bytes = BODY,
    *,
    secret: str = SECRET,
    now: float = AT,
    scheme: str = "standard",
) -> bool:
    return verified(scheme, headers, body, keys_of(secret), now_seconds=now) is not None


def test_the_reference_vector_is_valid_with_and_without_the_prefix() -> None:
    assert _valid(HEADERS)
    assert _valid(HEADERS, secret=SECRET.removeprefix("whsec_"))


def test_one_right_signature_of_several_is_enough() -> None:
    given = HEADERS[b"webhook-signature"]
    assert _valid({**HEADERS, b"webhook-signature": b"v1,d3Jvbmc= v2,x " + given})


@pytest.mark.parametrize("off", [-TOLERANCE_SECONDS, TOLERANCE_SECONDS])
def test_the_clock_may_differ_by_five_minutes(off: int) -> None:
    assert _valid(HEADERS, now=AT + off)
    assert not _valid(HEADERS, now=AT + off + (1 if off > 0 else -1))


@pytest.mark.parametrize(
    "change",
    [
        {b"webhook-id": b"msg_other"},
        {b"webhook-timestamp": b"1614265331"},
        {b"webhook-timestamp": b"soon"},
        {b"webhook-timestamp": b"9" * 5000},
        {b"webhook-timestamp": "١".encode()},
        {b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF="},
        {b"webhook-signature": b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {b"webhook-signature": b""},
        {b"webhook-id": b""},
        {b"webhook-id": b"msg.other"},
    ],
)
def test_any_change_of_the_headers_makes_it_invalid(change: dict[bytes, bytes]) -> None:
    assert not _valid({**HEADERS, **change})


def test_a_change_of_the_body_or_another_secret_makes_it_invalid() -> None:
    assert not _valid(HEADERS, BODY + b" ")
    assert not _valid(HEADERS, secret="whsec_" + base64.b64encode(b"another secret").decode())


def test_a_missing_header_makes_it_invalid() -> None:
    for name in HEADERS:
        assert not _valid({other: value for other, value in HEADERS.items() if other != name})


def test_a_secret_of_plain_text_signs_with_its_characters() -> None:
    secret = "пароль, not base64"
    message = b".".join((HEADERS[b"webhook-id"], HEADERS[b"webhook-timestamp"], BODY))
    digest = base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256))
    assert _valid({**HEADERS, b"webhook-signature": b"v1," + digest}, secret=secret)


def _plain(secret: str = SECRET, body: bytes = BODY, at: int = AT) -> dict[bytes, bytes]:
    digest = hmac.digest(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256).hex().encode()
    return {b"x-signature-256": b"sha256=" + digest, b"x-signature-timestamp": str(at).encode()}


@pytest.mark.parametrize("secret", [SECRET, "plain text"])
def test_signature_256_is_the_hex_digest_of_timestamp_and_body(secret: str) -> None:
    headers = _plain(secret)
    written = headers[b"x-signature-256"]
    for given in (written, b"sha256=" + written.removeprefix(b"sha256=").upper()):
        assert _valid({**headers, b"x-signature-256": given}, secret=secret, scheme="x-signature-256")
    bare = {**headers, b"x-signature-256": written.removeprefix(b"sha256=")}
    assert not _valid(bare, secret=secret, scheme="x-signature-256")
    assert not _valid(headers, BODY + b"x", secret=secret, scheme="x-signature-256")


def test_signature_256_without_a_timestamp_is_never_valid() -> None:
    digest = hmac.digest(SECRET.encode(), BODY, hashlib.sha256).hex().encode()
    assert not _valid({b"x-signature-256": b"sha256=" + digest}, scheme="x-signature-256")


def test_a_signature_of_one_scheme_is_none_of_another() -> None:
    both = {**HEADERS, **_plain()}
    assert _valid(both)
    assert _valid(both, scheme="x-signature-256")
    assert not _valid(HEADERS, scheme="x-signature-256")
    assert not _valid(_plain())
    assert not _valid(both, scheme="none")
    assert not _valid(both, scheme="a scheme of a later version")


def test_a_timestamp_moved_between_headers_and_body_makes_it_invalid() -> None:
    id_, timestamp = HEADERS[b"webhook-id"], HEADERS[b"webhook-timestamp"]
    moved = id_ + b"." + timestamp + b"." + BODY
    standard = hmac.digest(keys_of(SECRET)[-1], moved, hashlib.sha256).hex().encode()
    assert not _valid({b"x-signature-256": b"sha256=" + standard}, moved, scheme="x-signature-256")
    # The rest of an id that is split off cannot become the time, nor the time a part of the id.
    inner = {**HEADERS, b"webhook-id": id_ + b"." + timestamp}
    assert not _valid(inner, BODY)


def test_a_repeat_of_a_signed_request_has_the_ids_of_the_first() -> None:
    webhook = "6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11"
    first, again = (
        verified("x-signature-256", _plain(), BODY, keys_of(SECRET), now_seconds=AT + late) for late in (0, 200)
    )
    assert first is not None
    assert again is not None
    ids = first.event_ids(webhook)
    one, two = next(ids), next(ids)
    assert one != two
    assert next(again.event_ids(webhook)) == one
    assert again.letter_id(webhook) == first.letter_id(webhook)


def test_without_keys_nothing_is_valid() -> None:
    assert keys_of("") == ()
    assert verified("standard", HEADERS, BODY, (), now_seconds=AT) is None


def test_a_request_is_signed_when_it_carries_either_header() -> None:
    assert signed(HEADERS)
    assert signed({b"x-signature-256": b"anything"})
    assert not signed({b"authorization": b"Bearer x"})


def test_a_plain_signature_is_good_for_five_minutes_only() -> None:
    headers = _plain()
    assert _valid(headers, scheme="x-signature-256")
    assert not _valid(headers, now=AT + TOLERANCE_SECONDS + 1, scheme="x-signature-256")
    assert not _valid({**headers, b"x-signature-timestamp": str(AT + 1).encode()}, scheme="x-signature-256")
