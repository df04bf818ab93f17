"""The webhooks that producers and streams know: what their topic says of each last."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from schemas.codec import Codec, Undecodable
from schemas.events import Webhook
from schemas.records import Incoming


def _nobody(_record: Incoming, _problem: Undecodable) -> None:
    """Tell nobody."""


def configurations(
    records: Iterable[Incoming],
    codec: Codec[Webhook],
    *,
    refused: Callable[[Incoming, Undecodable], None] = _nobody,
) -> dict[str, Webhook]:
    """Return the configurations by webhook id, from the records of ``goalpost.webhooks`` in order.

    A record that does not decode leaves the version before it in force, as it does in the processes; ``refused`` is
    told of it.

    Raises:
        runtime.registry.RegistryUnavailable: a record names a schema that cannot be asked for.
    """
    known: dict[bytes, Webhook] = {}
    for record in records:
        key = record.key or b""
        if record.value is None:
            known.pop(key, None)
            continue
        try:
            known[key] = codec.decode(record.value)
        except Undecodable as problem:
            refused(record, problem)
    return {webhook.webhook_id: webhook for webhook in known.values()}
