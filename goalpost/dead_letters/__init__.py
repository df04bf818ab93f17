"""``goalpost dlq``: from a letter to a stored conversion, or to a reason why not.

Decided without I/O: ``letter`` (its headers; which letters are meant), ``plan`` (what happens to one), ``remake`` with
``fixing`` and ``bodies`` (the record that goes back), ``journal`` (what became of letters), ``masking`` (what may be
shown). ``reading``, ``rows``, ``sending`` and ``returns`` are Kafka and Postgres; ``replay`` carries a plan out chunk
by chunk, ``running`` paces it and keeps its audit record. ``commands``, ``replaying`` and ``discarding`` are what a
person types; ``selecting``, ``progress`` and ``view`` are their options and words.
"""
