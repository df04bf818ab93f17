"""Which letters are meant, what a replay does with each, and what it never does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from goalpost.dead_letters.journal import Journal, Run, journal_of, mark, run_record
from goalpost.dead_letters.letter import Letter, Selection, letter_of
from goalpost.dead_letters.plan import (
    Action,
    Blocked,
    Republish,
    ResetRow,
    RowState,
    Skipped,
    UploadState,
    action_for,
    needs_row,
    republished,
)
from goalpost.dead_letters.replay import CHUNK_LETTERS, carried_out, planned
from runtime.kafka import DeliveryFailed
from schemas.records import Incoming, Outgoing, header
from tests.unit.schemas.examples import Example, examples, letter_record

NOW_MS = 1_767_400_000_000
BY_NAME = {str(example): example for example in examples("")}
RAW_LETTER = "crm.events.raw.dlq/good_session_not_found"
UPLOAD_LETTER = "crm.conversions.dlq/good_metrika_rejected"


def _letter(name: str = RAW_LETTER, *, offset: int = 0, **headers: str) -> Letter:
    example: Example = BY_NAME[name]
    record = letter_record(example, offset=offset)
    extra = tuple((key.replace("_", "."), text.encode()) for key, text in headers.items())
    return letter_of(replace(record, headers=record.headers + extra))


def _row(*, stage: str | None = "failed", deadline_ms: int | None = None, **uploads: str) -> RowState:
    states = tuple(UploadState(token=token, metrika_upload_id=None, state=state) for token, state in uploads.items())
    return RowState(event_id=_letter(UPLOAD_LETTER).event_id, stage=stage, deadline_ms=deadline_ms, uploads=states)


def _decide(
    letter: Letter, *, row: RowState | None = None, replayed: bool = False, earlier: int = 0, most: int = 3
) -> Action:
    return action_for(letter, row=row, replayed=replayed, earlier_replays=earlier, max_replays=most, now_ms=NOW_MS)


class TestSelection:
    def test_an_empty_selection_means_every_letter(self) -> None:
        assert Selection().includes(_letter())

    @pytest.mark.parametrize(
        ("selection", "included"),
        [
            (Selection(error_classes=frozenset({"session_not_found"})), True),
            (Selection(error_classes=frozenset({"expired"})), False),
            (Selection(stages=frozenset({"join"})), True),
            (Selection(stages=frozenset({"decode"})), False),
            (Selection(webhooks=frozenset({"6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11"})), True),
            (Selection(webhooks=frozenset({"another"})), False),
            (Selection(ids=frozenset({"4a1d2c3b-5e6f-5a7b-8c9d-0e1f2a3b4c5d"})), True),
            (Selection(ids=frozenset({"8d1b6a2e-5c0f-5d4b-9a3e-2f4c6b8d0e1a"})), True),
            (Selection(ids=frozenset({"crm.events.raw.dlq:0:0"})), True),
            (Selection(ids=frozenset({"crm.events.raw.dlq:0:1"})), False),
            (Selection(since_ms=1_767_315_600_000), True),
            (Selection(since_ms=1_767_315_600_001), False),
            (Selection(until_ms=1_767_315_600_001), True),
            (Selection(until_ms=1_767_315_600_000), False),
        ],
        ids=str,
    )
    def test_each_filter_narrows(self, selection: Selection, included: bool) -> None:
        assert selection.includes(_letter()) is included

    def test_a_record_of_another_tool_is_listed_as_unknown(self) -> None:
        letter = _letter("crm.events.raw.dlq/bad_foreign")

        assert (letter.error_class, letter.stage, letter.origin_topic) == ("unknown", "unknown", "unknown")


class TestPlan:
    def test_a_letter_goes_back_to_where_it_came_from(self) -> None:
        assert _decide(_letter()) == Republish(topic="crm.events.raw")

    def test_a_replayed_record_keeps_key_value_and_event_id_and_is_counted(self) -> None:
        letter = _letter()

        record = republished(letter, Republish(topic="crm.events.raw"))

        assert (record.topic, record.key, record.value) == ("crm.events.raw", letter.record.key, letter.record.value)
        assert header(record.headers, "event_id") == letter.event_id
        assert header(record.headers, "dlq.replay.count") == "1"

    def test_a_waiting_record_begins_its_way_anew(self) -> None:
        letter = _letter("crm.events.waiting.dlq/good_undecodable")

        record = republished(letter, Republish(topic="crm.events.raw"))

        assert _decide(letter) == Republish(topic="crm.events.raw")
        assert record.topic == "crm.events.raw"
        assert not [name for name, _value in record.headers if name.startswith("waiting.")]

    def test_what_was_replayed_is_not_replayed_again(self) -> None:
        assert isinstance(_decide(_letter(), replayed=True), Skipped)

    @pytest.mark.parametrize(("by_header", "by_journal"), [(3, 0), (0, 3), (2, 3)])
    def test_replays_are_limited_however_they_are_counted(self, by_header: int, by_journal: int) -> None:
        letter = replace(_letter(), replays=by_header)

        assert isinstance(_decide(letter, earlier=by_journal, most=3), Blocked)
        assert isinstance(_decide(letter, earlier=by_journal, most=4), Republish)

    def test_a_conversion_whose_upload_failed_gets_its_row_reset(self) -> None:
        letter = _letter(UPLOAD_LETTER)

        assert needs_row(letter)
        assert _decide(letter, row=_row(first="rejected", second="rejected")) == ResetRow(event_id=letter.event_id)

    @pytest.mark.parametrize("state", ["prepared", "sending", "unknown", "accepted", "processed", "linkage_failure"])
    def test_a_row_that_metrika_may_have_is_never_uploaded_again(self, state: str) -> None:
        action = _decide(_letter(UPLOAD_LETTER), row=_row(first="rejected", t0ken=state))

        assert isinstance(action, Blocked)
        assert "t0ken" in action.why
        assert state in action.why

    @pytest.mark.parametrize("stage", ["stored", "batched", "uploaded", "processed", "not_linked", None])
    def test_a_row_that_did_not_fail_is_left_alone(self, stage: str | None) -> None:
        assert isinstance(_decide(_letter(UPLOAD_LETTER), row=_row(stage=stage)), Skipped)

    def test_a_passed_deadline_is_said_beforehand(self) -> None:
        action = _decide(_letter(UPLOAD_LETTER), row=_row(deadline_ms=NOW_MS - 1))

        assert isinstance(action, ResetRow)
        assert "expire" in action.note

    def test_a_conversion_whose_row_is_gone_is_published_again(self) -> None:
        assert _decide(_letter(UPLOAD_LETTER), row=None) == Republish(topic="crm.conversions")

    def test_a_conversion_that_postgres_refused_needs_no_row(self) -> None:
        assert not needs_row(_letter("crm.conversions.dlq/good_row_refused"))


class TestJournal:
    def test_it_remembers_what_was_replayed_and_how_often_an_event_was(self) -> None:
        marks = [mark(f"crm.events.raw.dlq:0:{offset}", event_id="e1", run_id="r") for offset in (1, 2, 2)]

        journal = journal_of(map(_as_read, marks))

        assert journal.replayed == {"crm.events.raw.dlq:0:1", "crm.events.raw.dlq:0:2"}
        assert journal.replays_by_event == {"e1": 2}

    def test_a_run_that_was_cut_off_has_no_end(self) -> None:
        whole = Run(run_id="1", by="ops", started_at="t0", selection="everything", finished_at="t1", counts={"a": 1})
        cut_off = replace(whole, run_id="2", finished_at="", counts={})

        journal = journal_of(
            map(_as_read, [run_record(replace(whole, finished_at="")), *map(run_record, (whole, cut_off))])
        )

        assert journal.runs == (whole, cut_off)

    def test_letters_without_an_event_are_not_counted_together(self) -> None:
        assert journal_of([_as_read(mark("a:0:1", event_id="", run_id="r"))]).replays_by_event == {}


def _as_read(record: Outgoing) -> Incoming:
    return Incoming(
        topic=record.topic,
        partition=0,
        offset=0,
        timestamp=0,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


@dataclass
class World:
    """Kafka and Postgres as one ordered list of effects; may fail at a given effect."""

    rows: dict[str, RowState] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    sent: list[Outgoing] = field(default_factory=list)
    dies_after: int | None = None

    def send(self, records: Iterable[Outgoing]) -> None:
        """Take records, all or none."""
        batch = list(records)
        if batch:
            self._happens(f"sent {len(batch)} to {', '.join(sorted({record.topic for record in batch}))}")
            self.sent += batch

    def states(self, event_ids: Iterable[str]) -> dict[str, RowState]:
        """Return rows."""
        return {event_id: self.rows[event_id] for event_id in event_ids if event_id in self.rows}

    def reset(self, event_ids: Iterable[str]) -> frozenset[str]:
        """Reset failed rows."""
        failed = frozenset(event_id for event_id in event_ids if self.rows[event_id].stage == "failed")
        if failed:
            self._happens(f"reset {len(failed)}")
            self.rows.update({event_id: replace(self.rows[event_id], stage="stored") for event_id in failed})
        return failed

    def _happens(self, effect: str) -> None:
        if self.dies_after is not None and len(self.effects) >= self.dies_after:
            raise DeliveryFailed("crm.events.raw", "killed")
        self.effects.append(effect)

    def journal(self) -> Journal:
        """Return what a next run reads."""
        return journal_of(_as_read(record) for record in self.sent if record.topic == "goalpost.replays")


def _run(world: World, letters: list[Letter], *, run_id: str = "run") -> None:
    for chunk in planned(letters, journal=world.journal(), rows=world, max_replays=3, now_ms=NOW_MS):
        carried_out(chunk, rows=world, sender=world, run_id=run_id)


class TestReplay:
    def test_effects_come_before_the_marks_that_they_happened(self) -> None:
        letters = [_letter(), _letter(UPLOAD_LETTER, offset=1)]
        world = World(rows={letters[1].event_id: _row()})

        _run(world, letters)

        assert world.effects == ["sent 1 to crm.events.raw", "reset 1", "sent 2 to goalpost.replays"]

    def test_a_second_run_does_nothing(self) -> None:
        letters = [_letter(offset=offset) for offset in range(CHUNK_LETTERS + 5)]
        world = World()
        _run(world, [replace(letter, event_id=letter.place) for letter in letters])
        before = list(world.effects)

        _run(world, letters)

        assert world.effects == before

    @pytest.mark.parametrize("effects", range(4))
    def test_a_run_killed_anywhere_loses_no_letter_and_marks_none_too_early(self, effects: int) -> None:
        letters = [
            replace(_letter(offset=0), event_id="e0"),
            replace(_letter(offset=1), event_id="e1"),
            _letter(UPLOAD_LETTER, offset=2),
        ]
        world = World(rows={letters[2].event_id: _row()}, dies_after=effects)
        try:
            _run(world, letters)
        except DeliveryFailed:
            world.dies_after = None
            _run(world, letters)

        republished_keys = [record for record in world.sent if record.topic == "crm.events.raw"]
        assert len(republished_keys) in (2, 4)
        assert world.rows[letters[2].event_id].stage == "stored"
        assert {"crm.events.raw.dlq:0:0", "crm.events.raw.dlq:0:1"} <= world.journal().replayed

    def test_a_row_that_changed_meanwhile_is_reported_and_not_marked(self) -> None:
        letter = _letter(UPLOAD_LETTER)
        world = World(rows={letter.event_id: _row()})
        (chunk,) = planned([letter], journal=Journal(), rows=world, max_replays=3, now_ms=NOW_MS)
        world.rows[letter.event_id] = _row(stage="uploaded")

        (done,) = carried_out(chunk, rows=world, sender=world, run_id="run")

        assert isinstance(done.action, Blocked)
        assert world.effects == []

    def test_a_dry_run_has_no_effect(self) -> None:
        world = World()

        assert list(planned([_letter()], journal=Journal(), rows=world, max_replays=3, now_ms=NOW_MS))
        assert world.effects == []

    def test_audit_records_are_plain_json(self) -> None:
        run = Run(run_id="1", by="ops", started_at="t0", selection="everything")

        assert json.loads(run_record(run).value or b"")["by"] == "ops"
