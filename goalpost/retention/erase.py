"""``goalpost erase``: one visitor, out of everything that can forget; and a report of what cannot, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from goalpost.admin_output import json_option, show
from goalpost.cluster import records
from goalpost.console import progress_output
from goalpost.moment import iso
from goalpost.retention.erasure import Rows
from goalpost.retention.visitor import Visitor, as_lines, find, traces
from runtime import kafka
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load
from schemas.contracts import WEB_SESSIONS
from schemas.records import Incoming
from schemas.topics import SESSIONS
from sinks.postgres.connection import connect, translated_errors

_NAME: Final = "goalpost-erase"
_KEYS: Final = "web.sessions: keys removed"


@click.command()
@click.option("--ym-uid", help="The visitor's ClientID, the cookie _ym_uid.")
@click.option("--session-id", help="One of the visitor's sessions; it leads to the others.")
@click.option("--reason", required=True, help="Stands in the audit trail; no personal data here.")
@click.option("--apply", "really", is_flag=True, help="Do it. Without this nothing is changed.")
@json_option
def erase(*, ym_uid: str | None, session_id: str | None, reason: str, really: bool, as_json: bool) -> None:
    """Erase one visitor from Postgres, from web.sessions and so from every join. A dry run unless --apply is given.

    Conversions keep what they were worth and what became of them, and lose every id; one that was not uploaded yet
    never will be. Records of the other topics cannot be changed: the report says how many hold the visitor and when the
    last of them is gone. What Metrika has it keeps: its rows can only be removed by Yandex.
    """
    if (ym_uid is None) == (session_id is None):
        raise click.UsageError("Say who: either --ym-uid or --session-id.")
    kafka_settings, database_settings = load(KafkaSettings, DatabaseSettings)
    servers = kafka_settings.bootstrap_servers
    codec = Registry(kafka_settings.schema_registry_url).codec(WEB_SESSIONS)

    def read(topic: str) -> Iterable[Incoming]:
        return records(servers, [topic])

    with progress_output().status("looking through the topics"):
        visitor = find(lambda: read(SESSIONS.name), codec, ym_uid=ym_uid, session_id=session_id)
        left = traces(read, visitor)
    with (
        connect(database_settings.database_url.get_secret_value(), application_name=_NAME) as connection,
        translated_errors(),
    ):
        rows = Rows(connection, visitor)
        if really:
            # First the sessions: a conversion that comes meanwhile must not find one.
            _remove(visitor, servers)
        touched = rows.erase(reason) if really else rows.counted()
    touched[_KEYS] = len(visitor.keys)
    gone_by = {topic: iso(at) for topic, at in left.gone_by_ms.items()}
    verb = "done" if really else "would be done (--apply does it)"
    lines = [*(f"{number:>10}  {name}" for name, number in touched.items()), f"{'':>10}  {verb}"]
    lines += ["Left where nothing can be changed:", *as_lines(left.found, gone_by)] if left.found else []
    content = {"applied": really, "touched": touched, "left": left.found, "gone_by": gone_by}
    show(content, lines, as_json=as_json)


def _remove(visitor: Visitor, servers: str) -> None:
    kafka.Sender(kafka.producer(servers, client_id=_NAME)).send(visitor.removals())
