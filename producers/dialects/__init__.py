"""One module per way of speaking: each turns a request body into conversions, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from producers.dialects import generic
from producers.dialects.outcome import Outcome, Submission

Parse = Callable[[Submission], Outcome]

DIALECTS: Final[Mapping[str, Parse]] = {"generic": generic.parse}
