"""The whole way of an event, put together from Postgres and, for what is not stored, from Kafka."""

from goalpost.lineage.answer import EventLineage, Lineage, NotAsked, Step
from goalpost.lineage.search import Servers, lineage
from goalpost.lineage.uploading import Upload, waits_for

__all__ = ["EventLineage", "Lineage", "NotAsked", "Servers", "Step", "Upload", "lineage", "waits_for"]
