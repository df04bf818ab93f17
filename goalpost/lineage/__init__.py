"""The whole way of an event, put together from Postgres and, for what is not stored, from Kafka."""

from goalpost.lineage.search import lineage
from goalpost.lineage.uploading import Upload, waits_for
from goalpost.lineage.way import EventLineage, Lineage, Step

__all__ = ["EventLineage", "Lineage", "Step", "Upload", "lineage", "waits_for"]
