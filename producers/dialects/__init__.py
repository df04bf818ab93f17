"""One module per way of speaking: each turns a request body into conversions, and says what is wrong with it.

Which one a webhook speaks is in its configuration; nothing is guessed from a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from producers.dialects import amocrm, bitrix24, bitrix24_event, generic, make, portal, tilda, zapier
from producers.dialects.outcome import Outcome, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind of sender speaks. Every function is pure and never raises.

    ``stored`` returns what of a body may be kept, given its Content-Type; ``secrets`` what a body itself shows to
    authenticate it. ``taken_status`` is the success that the sender understands; ``refuses``: it can be told to mend
    its requests. ``fetched``: what comes are notes of changes, to be completed from the CRM's API.
    """

    parse: Callable[[Submission], Outcome]
    stored: Callable[[bytes, str | None], bytes] | None = None
    secrets: Callable[[bytes, str | None], tuple[str, ...]] | None = None
    taken_status: int = 202
    refuses: bool = False
    fetched: bool = False

    def storable(self, body: bytes, content_type: str | None) -> bytes:
        """Return what of ``body`` may be stored."""
        return body if self.stored is None else self.stored(body, content_type)


DIALECTS: Final[Mapping[str, Dialect]] = {
    "generic": Dialect(parse=generic.parse, refuses=True),
    "bitrix24": Dialect(parse=bitrix24.parse, stored=portal.stored, secrets=portal.secrets),
    "bitrix24_event": Dialect(parse=bitrix24_event.parse, stored=portal.stored, secrets=portal.secrets, fetched=True),
    "amocrm": Dialect(parse=amocrm.parse),
    # Tilda's help promises delivery only for 200.
    "tilda": Dialect(parse=tilda.parse, stored=tilda.stored, taken_status=200),
    "zapier": Dialect(parse=zapier.parse),
    "make": Dialect(parse=make.parse),
}
