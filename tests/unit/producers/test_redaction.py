"""What may not be stored is cut out of a body, and every other byte stays as it came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.dialects.redaction import CUT, redacted

NAMES = frozenset({"token", "other_token"})
MULTIPART = 'multipart/form-data; boundary="x"'
FORM = "application/x-www-form-urlencoded"


def of(body: bytes, content_type: str | None = MULTIPART) -> bytes:
    return redacted(body, content_type, NAMES, lambda _: "")


def part(name: bytes, content: bytes, *more: bytes) -> bytes:
    head = b"\r\n".join((b"--x", b"Content-Disposition: form-data; name=" + name, *more))
    return head + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    "name", [b'"token"', b"token", b'"auth[token]"', b'"AUTH[Token]"', b'" token "', b'token; x="y"']
)
@pytest.mark.parametrize("more", [(), (b"Content-Type: text/plain",), (b"X-A: b", b"X-C: token")])
@pytest.mark.parametrize("front", [b"", b"\r\n", b"a preamble\r\n"])
@pytest.mark.parametrize("end", [b"--x--\r\n", b"--x--", b"--x--\r\nan epilogue"])
def test_a_part_loses_its_content_and_no_other_part_does(
    name: bytes, more: tuple[bytes, ...], front: bytes, end: bytes
) -> None:
    before, after = part(b'"a"', b"says token=\r\n\r\n7"), part(b'"my_token_count"', b"3", b"Content-Type: text/plain")
    body = front + before + part(name, b"secret\r\n-- x\r\nsecret", *more) + after + end
    assert of(body) == front + before + part(name, b"", *more) + after + end


@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\nContent-Disposition: form-data; name=token\r\nsecret",
        b"--y\r\nContent-Disposition: form-data; name=token\r\n\r\nsecret\r\n--y--",
        b"--x\nContent-Disposition: form-data; name=token\n\nsecret\n--x--",
        part(b'"a"; name="token"', b"secret", b"Content-Disposition: b") + b"--x--",
        part(b'"' + b"a" * 5000 + b'[token]"', b"secret") + b"--x--",
        b"token=secret",
        part(b'"a"', b"1") + b"--x--\r\ntoken=secret",
    ],
)
def test_what_cannot_be_told_apart_is_cut_where_such_a_name_appears(body: bytes) -> None:
    found = of(body)
    assert b"secret" not in found
    assert found.endswith(CUT)
    assert body.startswith(found.removesuffix(CUT))


def test_without_a_boundary_nothing_can_be_told_apart() -> None:
    assert b"secret" not in of(part(b"token", b"secret") + b"--x--", "multipart/form-data")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b"a=1&token=secret&b=2", b"a=1&token=&b=2"),
        (b"auth[token]=secret", b"auth[token]="),
        (b"auth%5BTOKEN%5D=secret&a=%41", b"auth%5BTOKEN%5D=&a=%41"),
        (b"auth[ token ] =secret", b"auth[ token ] ="),
        (b"token", b"token"),
        (b"tokens=1&[token=2&token[a]=3&a[token][]=4", b"tokens=1&[token=2&token[a]=3&a[token][]=4"),
    ],
)
def test_a_field_of_a_form_loses_its_value(body: bytes, left: bytes) -> None:
    assert of(body, FORM) == left


def test_a_form_that_nobody_would_read_is_cut() -> None:
    assert b"secret" not in of(b"a&" * 100_001 + b"token=secret", FORM)


@given(st.binary(max_size=200), st.sampled_from([MULTIPART, FORM, None, "text/plain"]))
def test_a_body_that_names_nothing_stays_as_it_came(body: bytes, content_type: str | None) -> None:
    if b"token" not in body.lower():
        assert of(body, content_type) == body
