"""Phones and e-mails as Metrika's CRM orders want them: normalised, then hashed; in clear they go no further than here.

Source: Metrika API documentation, "Order and customer data format" and "Hashing (md5)": a phone is digits with the
country code, an e-mail has no capitals. MD5 is what Metrika compares; whoever has the hash of a phone can try out all
phones, so hashes are personal data as well.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from producers.fields import BadField, Values, text

# A field may hold several; the first one is the person's as well as any other.
_SEPARATORS: Final = re.compile(r"[,;]")
_PUNCTUATION: Final = re.compile(r"[\s().\-\u2010-\u2015\u2212/]")
# E.164 has at most 15 digits; the shortest numbers that can be called from abroad have 7.
_INTERNATIONAL: Final = re.compile(r"(?:\+|00)([1-9][0-9]{6,14})")
# Without a plus only a number this long has its country code for certain: national numbers have up to ten digits.
_BARE: Final = re.compile(r"[1-9][0-9]{10,14}")
# What Russians dial within the country in place of 7, and write with a plus by mistake: no country's code begins 89.
_TRUNK: Final = re.compile(r"(?:8|\+8(?=9))([0-9]{10})")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")


def email_md5(values: Values, name: str) -> str | None:
    """Return the hash of an e-mail address, trimmed and in lower case.

    Raises:
        BadField: it is none.
    """
    written = _first(values, name)
    if written is None:
        return None
    address = written.lower()
    if not _EMAIL.fullmatch(address):
        raise BadField(name, "is no e-mail address; send one such as mail@example.com")
    return _md5(address)


def phone_md5(values: Values, name: str) -> str | None:
    """Return the hash of a phone's digits with its country code; a Russian 8 in front of ten digits counts as 7.

    Raises:
        BadField: it is none, or its country is left open.
    """
    written = _first(values, name)
    if written is None:
        return None
    dialled = _PUNCTUATION.sub("", written)
    if domestic := _TRUNK.fullmatch(dialled):
        return _md5(f"7{domestic[1]}")
    if international := _INTERNATIONAL.fullmatch(dialled):
        return _md5(international[1])
    if _BARE.fullmatch(dialled):
        return _md5(dialled)
    raise BadField(name, "is no phone with its country code; send one such as +7 999 555-11-11")


def _first(values: Values, name: str) -> str | None:
    written = text(values, name)
    return (
        None if written is None else next((part.strip() for part in _SEPARATORS.split(written) if part.strip()), None)
    )


def _md5(normalised: str) -> str:
    return hashlib.md5(normalised.encode(), usedforsecurity=False).hexdigest()
