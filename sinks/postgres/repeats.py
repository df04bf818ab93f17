"""What it means that a conversion comes again: nothing, or its session has come, or its amount has changed. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from schemas.events import Conversion, EpochMillis

_MINUTE_MS: Final = 60_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_MS: Final = 60 * _MINUTE_MS
# Whoever sends amount after amount shall not make a row of megabytes; the audit trail has every one.
_LONGEST_NOTES: Final = 1000
_SEPARATOR: Final = "; "
_CONTACT: Final = "a phone or an e-mail"


class Decision(StrEnum):
    """What becomes of another amount; the words of ``conversion_amounts.decision``."""

    IGNORED = "ignored"
    LETTERED = "lettered"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A stored conversion as its repeat finds it. Times are epoch milliseconds.

    ``named_by`` is the identifier by which Metrika is told of it (``ClientId``, ...; ``Contact`` without any).
    ``corrected_at`` is when the latest of its corrections was received, ``on_change`` what its webhook wants.
    """

    event_id: str
    target: str
    price: Decimal
    currency: str | None
    occurred_at: EpochMillis
    received_at: EpochMillis
    deadline_at: EpochMillis
    raw_partition: int
    raw_offset: int
    named_by: str
    awaits_session: bool
    anonymous: bool
    on_change: str
    notes: str | None
    corrected_at: EpochMillis | None


def is_late_session(known: Known, repeat: Conversion) -> bool:
    """Whether the repeat brings the session that the stored conversion went ahead of."""
    return known.awaits_session and not repeat.session_missing


def is_other_amount(known: Known, repeat: Conversion) -> bool:
    """Whether the sender has named another amount than the stored one.

    What our own rules say may change without the sender's doing, and the same raw event read again is no news.
    """
    same_event = (known.raw_partition, known.raw_offset) == (repeat.raw_partition, repeat.raw_offset)
    if same_event or not repeat.price_sent:
        return False
    return repeat.price != known.price or (repeat.currency_sent and repeat.currency != known.currency)


def decision_about(known: Known, repeat: Conversion) -> tuple[Decision, str]:
    """Decide what becomes of another amount, and say it in a sentence."""
    came = f"it came again with {_amount(repeat)}"
    if known.on_change == "letter":
        return Decision.LETTERED, f"{came}, and a dead letter asks which amount counts"
    if known.on_change == "correct":
        return correction_of(known, repeat)
    return Decision.IGNORED, f"{came}, and {_amount(known)} stands"


def correction_of(known: Known, repeat: Conversion) -> tuple[Decision, str]:
    """Upload the other amount, or say why that cannot be."""
    came = f"it came again with {_amount(repeat)}"
    obstacle = _obstacle(known, repeat)
    if obstacle is None:
        return Decision.CORRECTED, f"{came}, which is uploaded as a correction"
    return Decision.IGNORED, f"{came}, and {_amount(known)} stands: {obstacle}"


def _obstacle(known: Known, repeat: Conversion) -> str | None:
    if known.anonymous:
        return "its identifiers were removed"
    if known.named_by == "Contact":
        return "a CRM order, by phone or e-mail, is not corrected"
    if repeat.price < 0:
        return "no amount below zero is uploaded; send what the order is worth now"
    if repeat.received_at < max(known.received_at, known.corrected_at or 0):
        return "it was received before the amount that counts now"
    return None


def correction_id(event_id: str, repeat: Conversion) -> str:
    """Return the id of the row that corrects a conversion to this amount: the same again for every repeat of it."""
    name = f"amount:{repeat.price.normalize():f}:{repeat.currency or ''}"
    return str(uuid.uuid5(uuid.UUID(event_id), name))


def letter_message(known: Known, repeat: Conversion) -> str:
    """Say why the repeat is a dead letter, and what can be done with it.

    With commas: seven digits in a row would be taken for a telephone number there, and hidden.
    """
    return (
        f"it came again with {_amount(repeat, grouped=True)} and is stored with {_amount(known, grouped=True)}; "
        "replay this letter to upload the new amount as a correction, or discard it to keep the first"
    )


def _amount(of: Known | Conversion, *, grouped: bool = False) -> str:
    number = of.price.normalize()
    return f"{f'{number:,f}' if grouped else f'{number:f}'} {of.currency or ''}".strip()


def session_news(known: Known, late: Conversion, *, row_is_there: bool) -> str:
    """Say that the session came, and what would have differed had it been there in time. Names no identifier."""
    waited = _span(late.resolved_at - known.received_at)
    goal = "its goal was appended then" if row_is_there else "there is no such row in user_analytics"
    said = [f"its session came {waited} after it was received, and {goal}"]
    with_it = named_by(late)
    if with_it != known.named_by:
        before, after = _spoken(known.named_by), _spoken(with_it)
        said.append(f"with its session it would have gone to Metrika by {after}, not {before}")
    if late.deadline_at != known.deadline_at:
        said.append(f"with its session its deadline would have been {_iso(late.deadline_at)}")
    return _SEPARATOR.join(said)


def named_by(conversion: Conversion) -> str:
    """Return the identifier by which Metrika is told of a conversion, by the order of precedence."""
    if conversion.client_id is not None:
        return "ClientId"
    if conversion.yclid is not None:
        return "Yclid"
    if conversion.user_id is not None:
        return "UserId"
    return "PurchaseId" if conversion.purchase_id is not None else "Contact"


def with_sentence(notes: str | None, sentence: str) -> str:
    """Return a row's notes with another sentence; once they are long, nothing is added."""
    if not notes:
        return sentence
    return notes if len(notes) > _LONGEST_NOTES else f"{notes}{_SEPARATOR}{sentence}"


def _spoken(named: str) -> str:
    return _CONTACT if named == "Contact" else named


def _span(milliseconds: int) -> str:
    if milliseconds >= 2 * _HOUR_MS:
        return f"{milliseconds // _HOUR_MS} h"
    if milliseconds >= 2 * _MINUTE_MS:
        return f"{milliseconds // _MINUTE_MS} min"
    return f"{max(milliseconds, 0) // 1000} s"


def _iso(at: EpochMillis) -> str:
    try:
        return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:  # a foreign producer may write any number
        return f"{at} ms"
