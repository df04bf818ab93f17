"""The whole way of an event, put together from Postgres and, for what is not stored, from Kafka."""

from goalpost.lineage.search import lineage
from goalpost.lineage.way import EventLineage, Lineage, Step, Upload

__all__ = ["EventLineage", "Lineage", "Step", "Upload", "lineage"]
