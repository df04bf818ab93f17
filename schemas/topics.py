"""The topic registry: the single place that knows every topic's name, key, schema, retention and readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_DAY_MS: Final = 24 * 60 * 60 * 1000

# Raw, sessions, waiting and conversions are joined partition by partition, so they share one count. Eight lets eight
# join workers share the load; raising it later moves keys between partitions and needs the state rebuilt.
DEFAULT_PARTITIONS: Final = 8

# A raw event holds a body of up to 1 MiB, its payload once more, and headers; a dead letter or a waiting record adds
# headers to that, so the limit is far above what the webhook service can write.
RECORD_LIMIT_BYTES: Final = 4 * 1024 * 1024

# Names that outlive a process: changing one is a migration, because offsets or state are stored under it.
JOIN_APP: Final = "goalpost-join"
POSTGRES_SINK_GROUP: Final = "goalpost-postgres-sink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One Kafka topic as a contract between stages and with other teams.

    ``schema`` is the file name in ``schemas/avro`` or ``None`` where values are whatever the source held.
    ``retention_ms`` of -1 keeps records for ever (compacted topics). ``ordering`` and ``repeats`` are promises to
    readers: which records keep their order, and when the same thing is told twice.
    """

    name: str
    purpose: str
    key: str
    schema: str | None
    retention_ms: int
    produced_by: str
    consumed_by: tuple[str, ...]
    ordering: str
    repeats: str
    copartitioned: bool = False
    partitions: int | None = None
    compacted: bool = False
    extra_config: tuple[tuple[str, str], ...] = field(default=())

    @property
    def dead_letters(self) -> str:
        """Name of the topic that receives this topic's records that cannot be processed."""
        return f"{self.name}.dlq"

    @property
    def subject(self) -> str:
        """The registry subject of this topic's values (TopicNameStrategy)."""
        return f"{self.name}-value"

    def partition_count(self, default: int) -> int:
        """Partitions to create: the shared ``default`` for co-partitioned topics, else the topic's own count."""
        return self.partitions if self.partitions is not None else default

    def config(self) -> dict[str, str]:
        """The topic-level broker settings that make the contract true."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(RECORD_LIMIT_BYTES),
            **dict(self.extra_config),
        }


RAW: Final = Topic(
    name="crm.events.raw",
    purpose="One record per conversion that a CRM reported, with the request body untouched inside.",
    key="identity: s:<session_id>, else u:<ym_uid>, else e:<event_id>",
    schema="raw_event.avsc",
    retention_ms=14 * _DAY_MS,
    produced_by="producers",
    consumed_by=("streams",),
    ordering="Of one key: as the webhook service accepted them, which need not be the order in which they occurred.",
    repeats="A sender's retry is one more record with the same event_id (a header); the id is what to count by.",
    copartitioned=True,
)
SESSIONS: Final = Topic(
    name="web.sessions",
    purpose="Web sessions by session and by visitor; the join's state is built from it.",
    key="s:<session_id> and u:<ym_uid>, one record each",
    schema="session.avsc",
    retention_ms=-1,
    produced_by="producers",
    consumed_by=("streams", "sinks.postgres"),
    ordering="Of one key: as they arrived; the newest session of a visitor is the one with the greatest session_at.",
    repeats="A session is told again whenever the site saves it, and by a backfill; the last record of a key stands.",
    copartitioned=True,
    compacted=True,
    # An older session that arrives late must not displace a newer one of the same visitor before the join has put
    # the newer one back behind it; a day is the longest stop of all join workers that this survives.
    extra_config=(("min.compaction.lag.ms", str(_DAY_MS)),),
)
CONVERSIONS: Final = Topic(
    name="crm.conversions",
    purpose="Conversions joined with their session: what is stored and uploaded.",
    key="as crm.events.raw",
    schema="conversion.avsc",
    retention_ms=30 * _DAY_MS,
    produced_by="streams",
    consumed_by=("sinks.postgres", "other teams"),
    ordering="Of one key: as they were resolved; one that waited for its session comes after younger ones.",
    repeats=(
        "After a crash, a sender's retry or a replay the same event_id comes again: keep the first for counting; a "
        "later one with session_missing=false adds the session, which came after the conversion went ahead without it."
    ),
    copartitioned=True,
)
WAITING: Final = Topic(
    name="crm.events.waiting",
    purpose="Events whose session is not there yet; waiting.* headers say which delay they are in and until when.",
    key="as crm.events.raw",
    schema="raw_event.avsc",
    # Far longer than all delays together: an outage of the join must not delete what waits.
    retention_ms=30 * _DAY_MS,
    produced_by="streams",
    consumed_by=("streams",),
    ordering="Of one key: as they began to wait.",
    repeats=(
        "Each further delay of an event is one more record, which names the one it replaces (waiting.released); with "
        "waiting.ahead its conversion is written already, and only its session is waited for."
    ),
    copartitioned=True,
)
OUTCOMES: Final = Topic(
    name="crm.conversions.outcomes",
    purpose="What became of each conversion at Metrika: accepted, processed, not_linked or failed.",
    key="event_id",
    schema="outcome.avsc",
    retention_ms=30 * _DAY_MS,
    produced_by="sinks.metrika",
    consumed_by=("other teams",),
    ordering="Of one event_id: accepted comes before processed or not_linked; failed is the last word until a replay.",
    repeats="After a crash the same outcome of an event_id may come twice.",
)
REJECTED: Final = Topic(
    name="crm.events.rejected",
    purpose="Authentic request bodies that could not be understood; the value is the body, byte for byte.",
    key="webhook_id",
    schema=None,
    retention_ms=30 * _DAY_MS,
    produced_by="producers",
    consumed_by=("goalpost dlq",),
    ordering="As they arrived.",
    repeats="A sender's retry is one more record.",
    partitions=1,
)
IGNORED: Final = Topic(
    name="crm.events.ignored",
    purpose="Authentic request bodies with something that no rule of their webhook makes a conversion of, for a week.",
    key="webhook_id",
    schema=None,
    # How long a missing rule may go unnoticed. Most of what an amoCRM account reports is here, people's data included.
    retention_ms=7 * _DAY_MS,
    produced_by="producers",
    consumed_by=("goalpost dlq",),
    ordering="As they arrived.",
    repeats="A sender's retry is one more record.",
    partitions=1,
    # Kafka drops whole segments: with its own default of a week a record would stay for two.
    extra_config=(("segment.ms", str(_DAY_MS)),),
)
QUARANTINE: Final = Topic(
    name="crm.events.quarantine",
    purpose="Requests with a wrong secret or signature, for a day; goalpost quarantine checks them again.",
    key="webhook_id",
    schema=None,
    retention_ms=_DAY_MS,
    produced_by="producers",
    consumed_by=("goalpost quarantine",),
    ordering="As they arrived.",
    repeats="Whatever was sent is kept, up to a rate and a size.",
    partitions=1,
    # Whoever knows a webhook's id can write here: two segments are all that it may ever take, and they roll in time.
    extra_config=(("retention.bytes", str(256 * 1024 * 1024)), ("segment.ms", str(_DAY_MS // 4))),
)
UNFETCHED: Final = Topic(
    name="crm.events.unfetched",
    purpose="Notes of a CRM that tells only which deal has changed; goalpost fetch makes an event of the deal.",
    key="d:<webhook_id>:<deal id>",
    schema="raw_event.avsc",
    retention_ms=14 * _DAY_MS,
    produced_by="producers",
    consumed_by=("goalpost fetch",),
    ordering="As they arrived.",
    repeats="A deal that is saved often is noted often; the fetched event's id tells whether anything new happened.",
    # The CRM allows two requests a second to one reader, so a second reader would have nothing to do.
    partitions=1,
)
WEBHOOKS: Final = Topic(
    name="goalpost.webhooks",
    purpose="Webhook configuration for producers and streams; holds hashes and encrypted secrets, never clear ones.",
    key="webhook_id",
    schema="webhook.avsc",
    retention_ms=-1,
    produced_by="goalpost admin",
    consumed_by=("producers", "streams"),
    ordering="Of one webhook: as it was changed; changed_at dates each.",
    repeats="Publishing again repeats a configuration unchanged.",
    partitions=1,
    compacted=True,
)

_SOURCES: Final = (RAW, UNFETCHED, SESSIONS, CONVERSIONS, WAITING, WEBHOOKS)


def _dead_letters_of(source: Topic) -> Topic:
    return Topic(
        name=source.dead_letters,
        purpose=f"Records of {source.name} that could not be processed, untouched, with the reason in dlq.* headers.",
        key=f"as {source.name}",
        schema=None,
        retention_ms=30 * _DAY_MS,
        produced_by=", ".join(source.consumed_by),
        consumed_by=("goalpost dlq",),
        ordering="As they failed; letters of one key keep their order.",
        repeats="After a crash a letter may come twice, with the same dlq.id; a replay that fails is a new letter.",
        partitions=1,
    )


DEAD_LETTERS: Final = tuple(_dead_letters_of(source) for source in _SOURCES)
REPLAYS: Final = Topic(
    name="goalpost.replays",
    purpose="What became of each dead letter (replayed, fixed, settled, discarded), and one record per run of it.",
    key="the letter's dlq.id, else <dead-letter topic>:<partition>:<offset>; or run:<id>",
    schema=None,
    # A mark is younger than its letter, so equal retention means that it never goes first.
    retention_ms=DEAD_LETTERS[0].retention_ms,
    produced_by="goalpost dlq",
    consumed_by=("goalpost dlq",),
    ordering="As it was done.",
    repeats="None: a mark and the record that goes back are one transaction. The last mark of a letter counts.",
    partitions=1,
)
TOPICS: Final = (
    *(RAW, UNFETCHED, SESSIONS, CONVERSIONS, WAITING, OUTCOMES, REJECTED, IGNORED, QUARANTINE, WEBHOOKS),
    *(*DEAD_LETTERS, REPLAYS),
)


def topic_named(name: str) -> Topic:
    """Return the topic called ``name``.

    Raises:
        KeyError: no topic of goalpost has that name.
    """
    for topic in TOPICS:
        if topic.name == name:
            return topic
    raise KeyError(name)
