"""What a repeated order makes of the one that Metrika has: the three merge modes (data-import/modes.md)."""

from enum import StrEnum
from typing import assert_never

from sandbox.metrika.orders.order_file import LIST_COLUMNS, Fields


class MergeMode(StrEnum):
    """How an order that is known already is changed."""

    SAVE = "SAVE"
    """All that was sent before is replaced."""
    UPDATE = "UPDATE"
    """Only what is sent now is replaced."""
    APPEND = "APPEND"
    """What is sent now is added to lists, and replaces the rest."""


def merged(before: Fields, sent: Fields, mode: MergeMode) -> Fields:
    """The order afterwards. The date of creation is the first one: it cannot be changed."""
    match mode:
        case MergeMode.SAVE:
            after = dict(sent)
        case MergeMode.UPDATE:
            after = before | sent
        case MergeMode.APPEND:
            after = before | sent
            for column in set(LIST_COLUMNS) & sent.keys():
                after[column] = list(dict.fromkeys([*before.get(column, []), *sent[column]]))
        case _:
            assert_never(mode)
    return after | {"create_date_time": before["create_date_time"]}


def with_defaults(fields: Fields) -> Fields:
    """As Metrika understands it: paid unless said otherwise, roubles unless another currency is named."""
    return {"order_status": "PAID", "currency": "RUB"} | fields
