"""HMAC signatures, with the vectors of the schemes' own libraries."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from producers.signature import TOLERANCE_SECONDS, keys_of, signed, valid

# From the test suite of the Standard Webhooks reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
AT = 1_614_265_330
HEADERS = {
    b"webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek",
    b"webhook-timestamp": b"1614265330",
    b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def _valid(headers: dict[bytes, bytes], body: bytes = BODY, *, secret: str = SECRET, now: float = AT) -> bool:
    return valid(headers, body, keys_of(secret), now_seconds=now)


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


@pytest.mark.parametrize("secret", [SECRET, "plain text"])
def test_signature_256_is_the_hex_digest_of_the_body(secret: str) -> None:
    digest = hmac.digest(secret.encode(), BODY, hashlib.sha256).hex().encode()
    for written in (digest, digest.upper()):
        assert _valid({b"x-signature-256": b"sha256=" + written}, secret=secret, now=0)
    assert not _valid({b"x-signature-256": digest}, secret=secret)
    assert not _valid({b"x-signature-256": b"sha256=" + digest}, BODY + b"x", secret=secret)


def test_without_keys_nothing_is_valid() -> None:
    assert keys_of("") == ()
    assert not valid(HEADERS, BODY, (), now_seconds=AT)


def test_a_request_is_signed_when_it_carries_either_header() -> None:
    assert signed(HEADERS)
    assert signed({b"x-signature-256": b"anything"})
    assert not signed({b"authorization": b"Bearer x"})


def test_a_plain_signature_with_a_timestamp_is_good_for_five_minutes_only() -> None:
    timestamp = str(AT).encode()
    digest = hmac.digest(SECRET.encode(), timestamp + b"." + BODY, hashlib.sha256).hex().encode()
    headers = {b"x-signature-256": b"sha256=" + digest, b"x-signature-timestamp": timestamp}
    assert _valid(headers)
    assert not _valid(headers, now=AT + TOLERANCE_SECONDS + 1)
    assert not _valid({b"x-signature-256": headers[b"x-signature-256"]})
    assert not _valid({**headers, b"x-signature-timestamp": str(AT + 1).encode()})
