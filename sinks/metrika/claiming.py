"""Stored conversions become uploads: which rows, in which files, with which second. No request is made here."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from runtime.logs import logger
from runtime.metrics import REJECTED
from sinks.metrika.conversions import Candidate, IdType, Placed, place
from sinks.metrika.files import Fineness, Key, fineness
from sinks.metrika.tables import conversions
from sinks.metrika.tables.counters import Moment
from sinks.metrika.tables.uploads import Draft
from sinks.metrika.work import STAGE, Work

# Rows in memory at a time; a file may hold many more.
_PAGE_ROWS: Final = 5000
# When one of a held goal's conversions was let out, the next follows at the earliest then (sending.hold knows better).
_BETWEEN_TRIALS: Final = timedelta(minutes=15)


def fail_hopeless(work: Work) -> None:
    """Fail the conversions that no request can help, before one is spent on them."""
    for error_class, count in conversions.fail_hopeless(work.connection, work.counter.id, now=work.now()).items():
        REJECTED.labels(STAGE, error_class).inc(count)
        logger().warning("conversions.failed", counter=work.counter.number, rows=count, error_class=error_class)


def claim(work: Work) -> None:
    """Prepare uploads of the stored conversions; more while files come out full."""
    limit = work.tools.pace.upload_rows
    while _claim_once(work, limit) == limit and not work.tools.stop.requested:
        pass


def _claim_once(work: Work, limit: int) -> int:
    """Bind up to ``limit`` conversions to files, all in one transaction. Return how many were bound."""
    moment, counter = work.tools.moment(), work.counter
    with work.connection.transaction():
        files = _Files(work, moment, limit)
        next_trial = moment.now + _BETWEEN_TRIALS
        files.add_alone(conversions.trials(work.connection, counter.id, moment=moment, next_trial=next_trial))
        seen, last = 0, None
        while seen < limit:
            page = conversions.candidates(
                work.connection, counter.id, moment=moment, limit=min(_PAGE_ROWS, limit - seen), after=last
            )
            if not page:
                break
            files.add(page)
            seen, last = seen + len(page), page[-1]
        files.seal()
    return files.rows


class _Files:
    """The files of one claim, told apart as finely as the plan allows."""

    def __init__(self, work: Work, moment: Moment, limit: int) -> None:
        self._work = work
        self._moment = moment
        self._drafts: dict[Key, Draft] = {}
        self.rows = 0
        self._fineness = _fineness(work, moment, limit)

    def add(self, candidates: list[Candidate]) -> None:
        """Place these conversions behind those that are there."""
        parts: dict[Key, list[Placed]] = {}
        for row in self._placed(candidates):
            parts.setdefault(self._fineness.key(row.id_type, row.line.target, row.source), []).append(row)
        for key, rows in parts.items():
            if key not in self._drafts:
                self._drafts[key] = self._draft(key.id_type)
            self._drafts[key].add(rows)
            self.rows += len(rows)

    def add_alone(self, candidates: list[Candidate]) -> None:
        """Give each of these conversions a file of its own."""
        for row in self._placed(candidates):
            draft = self._draft(row.id_type)
            draft.add([row])
            draft.seal()

    def seal(self) -> None:
        """Decide the bytes of every file."""
        for draft in self._drafts.values():
            draft.seal()

    def _placed(self, candidates: list[Candidate]) -> list[Placed]:
        taken = conversions.taken_seconds(self._work.connection, self._work.counter.number, candidates)
        return place(candidates, taken=taken, latest=int(self._moment.latest.timestamp()))

    def _draft(self, id_type: IdType) -> Draft:
        return Draft(
            self._work.connection,
            upload_id=self._work.tools.new_id(),
            counter_id=self._work.counter.id,
            id_type=id_type,
            now=self._moment.now,
        )


def _fineness(work: Work, moment: Moment, limit: int) -> Fineness:
    files, separate = work.plan.files, work.counter.separate_goals and work.plan.spare
    if files == 1 and not separate:
        return Fineness.ID_TYPE
    groups = conversions.groups(work.connection, work.counter.id, moment=moment, limit=limit)
    return fineness(groups, files=files, separate_goals=separate)
