"""Query parameters of the management API, checked. Pure: a mapping in, values or the refusal out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.refusals import Refusal, refusal
from sandbox.metrika.uploading import CLIENT_ID_TYPES, Parameters

UPLOADING_TYPES = ("BASIC", "CALLS", "CHATS")
LONGEST_COMMENT = 255
LARGEST_PAGE = 10_000
_DOCUMENTED_COMMENT = re.compile(r"[0-9A-Za-zА-Яа-яЁё]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list, and the type of upload that it shows; `None` is all of them."""

    limit: int
    offset: int
    type: str | None


def upload_parameters(counter: int, query: Mapping[str, str], configuration: Configuration) -> Parameters | Refusal:
    """What an upload says about its file."""
    type_, client_id_type, comment = query.get("type", "BASIC"), query.get("client_id_type"), query.get("comment", "")
    if type_ not in UPLOADING_TYPES:
        return _wrong("type", f"one of {', '.join(UPLOADING_TYPES)}")
    if client_id_type is not None and client_id_type not in CLIENT_ID_TYPES.values():
        return _wrong("client_id_type", f"one of {', '.join(CLIENT_ID_TYPES.values())}, or left out")
    if len(comment) > LONGEST_COMMENT:
        return _wrong("comment", f"at most {LONGEST_COMMENT} characters")
    if not configuration.accept_comment_punctuation and not _DOCUMENTED_COMMENT.fullmatch(comment):
        return _wrong("comment", "digits, Latin and Cyrillic letters only (setting accept_comment_punctuation)")
    return Parameters(counter=counter, type=type_, client_id_type=client_id_type, comment=comment)


def page(query: Mapping[str, str], *, default_limit: int = LARGEST_PAGE) -> Page | Refusal:
    """`limit`, `offset` and `type` of a list."""
    limit, offset, type_ = query.get("limit", str(default_limit)), query.get("offset", "0"), query.get("type")
    if not _whole(limit) or not 1 <= int(limit) <= LARGEST_PAGE:
        return _wrong("limit", f"a whole number from 1 to {LARGEST_PAGE}")
    if not _whole(offset):
        return _wrong("offset", "a whole number from 0")
    if type_ is not None and type_ not in UPLOADING_TYPES:
        return _wrong("type", f"one of {', '.join(UPLOADING_TYPES)}")
    return Page(limit=int(limit), offset=int(offset), type=type_)


def whole_number(query: Mapping[str, str], name: str) -> int | Refusal | None:
    """An optional whole number."""
    value = query.get(name)
    if value is None:
        return None
    return int(value) if _whole(value) else _wrong(name, "a whole number from 0")


def _whole(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 18  # what SQLite's integers hold


def _wrong(name: str, expected: str) -> Refusal:
    return refusal("invalid_parameter", f"Invalid parameter {name}: must be {expected}")
