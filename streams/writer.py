"""One thread that decides and writes: whatever has piled up is written together, and done only when Kafka has it all.

Apart from the event loop, so that that goes on while a decision waits for the registry or a delivery for the broker.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from runtime import metrics
from runtime.sending import Sends
from schemas.records import Outgoing
from schemas.topics import WAITING
from streams.letters import STAGE, counted
from streams.waiting import ends_a_wait

Decision = Callable[[], Sequence[Outgoing]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    decide: Decision
    done: Future[None] = field(default_factory=Future)


def _closing_last(records: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    """Divide ``records`` in two where some of them end a wait: those only go out when all others are acknowledged.

    Acknowledgements come partition by partition. An end that stood alone after a crash would be a lost conversion.
    """
    closing = [record for record in records if record.topic == WAITING.name and ends_a_wait(record.headers)]
    if not closing:
        return [records]
    ends = set(map(id, closing))
    return [[record for record in records if id(record) not in ends], closing]


def _at_once(decide: Decision) -> Sequence[Outgoing]:
    return decide()


class Writer:
    """Takes decisions from any thread; carries them out in the order in which they were submitted."""

    def __init__(self, sender: Sends, *, careful: Callable[[Decision], Sequence[Outgoing]] = _at_once) -> None:
        """``careful`` calls a decision, perhaps more than once, and returns what may be written of it."""
        self._sender = sender
        self._careful = careful
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

    def submit(self, decide: Decision) -> Future[None]:
        """Have ``decide`` called and its records written. The future fails with whatever either raises."""
        job = _Job(decide=decide)
        self._jobs.put(job)
        return job.done

    def close(self) -> None:
        """End :meth:`work` after what has been submitted."""
        self._jobs.put(None)

    def work(self) -> None:
        """Carry out jobs until closed."""
        closed = False
        while not closed:
            jobs, closed = self._next_jobs()
            if jobs:
                self._carry_out(jobs)

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """Wait for one job and take all others that are there."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            if job.done.set_running_or_notify_cancel():
                jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _carry_out(self, jobs: Sequence[_Job]) -> None:
        started = time.perf_counter()
        try:
            records = [record for job in jobs for record in self._careful(job.decide)]
            for part in _closing_last(records):
                self._sender.send(part)
        except BaseException as error:  # noqa: BLE001 - whoever submitted a job learns why it is not done
            for job in jobs:
                job.done.set_exception(error)
            return
        metrics.SECONDS.labels(STAGE).observe(time.perf_counter() - started)
        counted(records)
        for topic, count in Counter(record.topic for record in records).items():
            metrics.SENT.labels(STAGE, topic).inc(count)
        for job in jobs:
            job.done.set_result(None)
