"""``goalpost erase``: one visitor, out of everything that can forget; and a report of what cannot, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from goalpost.admin.session import secret_from
from goalpost.cluster import records
from goalpost.console import execute_option, former_execute_option, json_option, progress_output, show
from goalpost.dead_letters import reading
from goalpost.dead_letters.discarding import give_up
from goalpost.dead_letters.letter import Letter
from goalpost.dead_letters.running import begun
from goalpost.moment import iso
from goalpost.retention.contact import Contact, by_email, by_phone, named
from goalpost.retention.erasure import Rows
from goalpost.retention.visitor import Traces, Visitor, as_lines, find, traces
from producers.fields import BadField
from runtime import kafka
from runtime.registry import Registry
from runtime.sections import DatabaseSettings, KafkaSettings
from runtime.settings import load
from schemas.contracts import WEB_SESSIONS
from schemas.records import Incoming
from schemas.topics import SESSIONS
from sinks.postgres.connection import Connection, connect, translated_errors

_NAME: Final = "goalpost-erase"
_KEYS: Final = "web.sessions: keys removed"
_LETTERS: Final = "dead letters: discarded"


@click.command()
@click.option("--ym-uid", help="The visitor's ClientID, the cookie _ym_uid.")
@click.option("--session-id", help="One of the visitor's sessions; it leads to the others.")
@click.option("--email", help="An e-mail that a CRM sent with a conversion; - to type or pipe it.")
@click.option("--phone", help="A phone with its country code, likewise.")
@click.option("--reason", required=True, help="Stands in the audit trail; no personal data here.")
@execute_option()
@former_execute_option
@json_option
def erase(
    *,
    ym_uid: str | None,
    session_id: str | None,
    email: str | None,
    phone: str | None,
    reason: str,
    execute: bool,
    as_json: bool,
) -> None:
    """Erase one visitor from Postgres, from web.sessions and so from every join. A dry run unless --execute is given.

    Conversions keep what they were worth and what became of them, and lose every id; one that was not uploaded yet
    never will be. An e-mail or a phone leads from the conversions that hold it to their visitors. Records of the other
    topics cannot be changed: the report says how many hold the visitor and when the last of them is gone; dead letters
    are discarded. What Metrika has it keeps: its rows can only be removed by Yandex.
    """
    if sum(one is not None for one in (ym_uid, session_id, email, phone)) != 1:
        raise click.UsageError("Say who: one of --ym-uid, --session-id, --email and --phone.")
    contact = _contact(email, phone)
    kafka_settings, database_settings = load(KafkaSettings, DatabaseSettings)
    servers = kafka_settings.bootstrap_servers
    codec = Registry(kafka_settings.schema_registry_url).codec(WEB_SESSIONS)

    def read(topic: str) -> Iterable[Incoming]:
        return records(servers, [topic])

    with (
        connect(database_settings.database_url.get_secret_value(), application_name=_NAME) as connection,
        translated_errors(),
    ):
        with progress_output().status("looking through the topics"):
            known = _of_contact(connection, contact) if contact else _of_ids(ym_uid, session_id)
            visitor = find(lambda: read(SESSIONS.name), codec, known)
            left = traces(read, visitor)
        rows = Rows(connection, visitor)
        if execute:
            # First the sessions: a conversion that comes meanwhile must not find one.
            kafka.Sender(kafka.producer(servers, client_id=_NAME)).send(visitor.removals())
        touched = rows.erase(reason) if execute else rows.counted()
    touched[_KEYS] = len(visitor.keys)
    touched[_LETTERS] = _discard(servers, left.letters.values(), reason, really=execute)
    _report(touched, left, really=execute, as_json=as_json)


def _report(touched: dict[str, int], left: Traces, *, really: bool, as_json: bool) -> None:
    gone_by = {topic: iso(at) for topic, at in left.gone_by_ms.items()}
    verb = "done" if really else "would be done (--execute does it)"
    lines = [*(f"{number:>10}  {name}" for name, number in touched.items()), f"{'':>10}  {verb}"]
    lines += ["Left where nothing can be changed:", *as_lines(left.found, gone_by)] if left.found else []
    content = {"applied": really, "touched": touched, "left": left.found, "gone_by": gone_by}
    show(content, lines, as_json=as_json)


def _contact(email: str | None, phone: str | None) -> Contact | None:
    try:
        if email is not None:
            return by_email(secret_from(email, "e-mail"))
        return None if phone is None else by_phone(secret_from(phone, "phone"))
    except BadField as exc:
        raise click.UsageError(str(exc)) from exc


def _of_contact(connection: Connection, contact: Contact) -> Visitor:
    found = named(connection, contact)
    return Visitor(
        ym_uids=found.ym_uids, session_ids=found.session_ids, event_ids=found.event_ids, written=contact.written
    )


def _of_ids(ym_uid: str | None, session_id: str | None) -> Visitor:
    return Visitor(
        ym_uids=frozenset() if ym_uid is None else frozenset({ym_uid}),
        session_ids=frozenset() if session_id is None else frozenset({session_id}),
    )


def _discard(servers: str, letters: Iterable[Letter], reason: str, *, really: bool) -> int:
    """Keep the visitor's open dead letters from being replayed. Return how many there are."""
    found = list(letters)
    if really and found:
        return give_up(servers, found, begun("discard", "letters of an erased visitor", reason=f"erasure: {reason}"))
    journal = reading.journal(servers)
    return sum(journal.fate(letter.identity) is None for letter in found)
