"""Addresses as people and programs write them: joined with too many slashes, copied with a blank, in capitals.

Each of these has one meaning, so it is taken: a CRM that is answered 404 or 401 loses what it reports.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Final
from urllib.parse import unquote

HOOKS: Final = "/hooks/"

_HOOKS_WORD: Final = "hooks"
# What is copied along with an address and can stand in no part of it: blanks of all kinds, quotes and brackets.
_AROUND: Final = " \t\r\n\x0b\x0c\u00a0\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff\"'<>`"
_UUID_LENGTH: Final = 36


def meant(path: str) -> str:
    """Return the path that ``path`` means: one slash between parts, none at the end, fixed words in lower case.

    What follows ``/hooks/`` is left as it is: a secret may have slashes and capitals of its own.
    """
    begin, _, rest = path.strip(_AROUND).lstrip("/").partition("/")
    if begin.strip(_AROUND).lower() == _HOOKS_WORD:
        return HOOKS + rest
    parts = (part.strip(_AROUND).lower() for part in (begin, *rest.split("/")))
    return "/" + "/".join(part for part in parts if part)


def hook_of(path: str) -> tuple[str, tuple[str, ...]]:
    """Return which webhook ``/hooks/{webhook_id}/{token}`` means, and the secrets that may be meant by its token.

    The first is the one that stands there; others differ by what was copied along with it.
    """
    webhook_id, _, token = path[len(HOOKS) :].lstrip("/").partition("/")
    return _webhook_id(webhook_id), spellings(token) if token else ()


def spellings(secret: str) -> tuple[str, ...]:
    """Return the secrets that may be meant by one in an address; usually there is just one."""
    plain = secret.strip(_AROUND)
    if plain.strip("/") == secret and "%" not in secret and " " not in secret:
        return (secret,)
    found = [secret, plain, plain.rstrip("/"), plain.strip("/")]
    # In a query, the plus of base64 that nobody has encoded comes as a blank.
    found += [one.replace(" ", "+") for one in found[1:]]
    found.append(unquote(plain.strip("/")))
    return tuple(dict.fromkeys(one for one in found if one))


def _webhook_id(text: str) -> str:
    plain = text.strip(_AROUND).lower()
    if len(plain) != _UUID_LENGTH:
        with contextlib.suppress(ValueError):  # in braces, or without hyphens
            return str(uuid.UUID(plain))
    return plain
