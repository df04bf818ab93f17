"""Whether Kafka answers, asked on a thread of its own.

Kafka's clients go on trying without a word, so a process that is cut off looks the same as one without work; and a page
that asked only when it is read would keep its reader waiting exactly then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from confluent_kafka import KafkaException

from runtime import kafka

_LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 2.0
# One look that a broker misses while a leader is elected is no news; two are. So a frozen broker shows after this and,
# at most, one look more: within eight seconds.
_SILENCE_SECONDS: Final = 5.0


class Reachability:
    """Says since when Kafka is silent. ``ask`` has it answer, and raises KafkaException where it does not."""

    def __init__(self, ask: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in seconds."""
        self._ask = ask
        self._clock = clock
        self._answered_at = clock()

    @classmethod
    def of(cls, bootstrap_servers: str, topic: str) -> Self:
        """Return one that asks for the partitions of ``topic``."""
        client = kafka.admin(bootstrap_servers)
        return cls(partial(client.list_topics, topic, timeout=_ANSWER_SECONDS))

    def start(self) -> None:
        """Look every second until the process ends."""
        threading.Thread(target=self._keep_looking, name="reachability", daemon=True).start()

    def _keep_looking(self) -> None:
        while True:
            self.look()
            time.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Ask Kafka now."""
        try:
            self._ask()
        except KafkaException:
            return
        self._answered_at = self._clock()

    def obstacles(self) -> dict[str, str]:
        """Kafka, if it has been silent for a while."""
        silence = self._clock() - self._answered_at
        return {"kafka": f"no answer for {silence:.0f} s"} if silence > _SILENCE_SECONDS else {}
