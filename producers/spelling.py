"""How names are compared: whatever case, spaces and punctuation people and programs write them with."""

from __future__ import annotations

import re
from typing import Final

_NO_LETTER: Final = re.compile(r"[\W_]+")


def spelling(name: str) -> str:
    """Return a name without case, spaces and punctuation: ``_ym_uid`` and ``YM UID`` are the same."""
    return _NO_LETTER.sub("", name).casefold()
