"""What a person has set, checked before the sandbox fills in the rest and starts anything."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.sections import SECTIONS
from runtime.settings import load
from runtime.vault import generate_key


def check_given(environ: Mapping[str, str]) -> None:
    """See whether every setting in ``environ`` can be used; those that the sandbox makes itself may be absent.

    Raises:
        BadSettings: lists every wrong and unknown one.
    """
    passable = {
        "KAFKA_BOOTSTRAP_SERVERS": "localhost",
        "SCHEMA_REGISTRY_URL": "http://localhost",
        "DATABASE_URL": "postgresql://localhost",
        "GOALPOST_SECRET_KEY": generate_key(),
        "GOALPOST_SESSIONS_WRITE_KEY": "any",
    }
    load(*SECTIONS, environ=passable | {name: value for name, value in environ.items() if value})
