"""Which letters are meant, what a replay does with each, and what it never does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from goalpost.dead_letters.journal import Fate, Journal, Run, mark, run_record
from goalpost.dead_letters.letter import Letter, Selection, letter_of
from goalpost.dead_letters.plan import (
    Action,
    Blocked,
    Failed,
    Limits,
    Republish,
    ResetRow,
    RowState,
    Settle,
    Skipped,
    Untouched,
    UploadState,
    action_for,
    needs_row,
)
from goalpost.dead_letters.remake import Records, sent_back
from goalpost.dead_letters.replay import CHUNK_BYTES, CHUNK_LETTERS, Planner, carried_out, chunks
from goalpost.dead_letters.returns import Streak
from goalpost.dead_letters.running import chunk_letters, paced
from runtime.kafka import DeliveryFailed
from schemas.records import Incoming, Outgoing, header
from tests.unit.schemas.examples import Example, examples, letter_record

NOW_MS = 1_767_400_000_000
BY_NAME = {str(example): example for example in examples("")}
RAW_LETTER = "crm.events.raw.dlq/good_session_not_found"
UPLOAD_LETTER = "crm.conversions.dlq/good_metrika_rejected"
ORIGIN_MS = 1_767_225_600_000
THREE_TIMES = Limits(max_replays=3)


def _letter(name: str = RAW_LETTER, *, offset: int = 0, **headers: str) -> Letter:
    example: Example = BY_NAME[name]
    record = letter_record(example, offset=offset)
    extra = tuple((key.replace("_", "."), text.encode()) for key, text in headers.items())
    return letter_of(replace(record, headers=record.headers + extra))


def _another(offset: int, name: str = RAW_LETTER) -> Letter:
    """A letter of another event."""
    return replace(_letter(name, offset=offset), letter_id=f"letter {offset}", event_id=f"event {offset}")


def _row(*, stage: str | None = "failed", deadline_ms: int | None = None, resets: int = 0, **uploads: str) -> RowState:
    states = tuple(UploadState(token=token, metrika_upload_id=None, state=state) for token, state in uploads.items())
    event_id = _letter(UPLOAD_LETTER).event_id
    return RowState(event_id=event_id, stage=stage, deadline_ms=deadline_ms, uploads=states, resets=resets)


def _decide(
    letter: Letter, *, row: RowState | None = None, fate: Fate | None = None, limits: Limits = THREE_TIMES
) -> Action:
    return action_for(letter, row=row, fate=fate, limits=limits, now_ms=NOW_MS)


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
            (Selection(keys=frozenset({"s:1767225000_k3j9x2"})), True),
            (Selection(keys=frozenset({"s:1"})), False),
            (Selection(headers=frozenset({("dlq.stage", "join"), ("dlq.attempts", "6")})), True),
            (Selection(headers=frozenset({("dlq.stage", "join"), ("dlq.attempts", "7")})), False),
            (Selection(since_ms=1_767_315_600_000), True),
            (Selection(since_ms=1_767_315_600_001), False),
            (Selection(until_ms=1_767_315_600_001), True),
            (Selection(until_ms=1_767_315_600_000), False),
        ],
    )
    def test_each_filter_narrows(self, selection: Selection, included: bool) -> None:
        assert selection.includes(_letter()) is included

    def test_a_record_of_another_tool_is_listed_as_unknown_and_named_by_its_place(self) -> None:
        letter = _letter("crm.events.raw.dlq/bad_foreign")

        assert (letter.error_class, letter.stage, letter.origin_topic) == ("unknown", "unknown", "unknown")
        assert letter.identity == "crm.events.raw.dlq:0:0"

    def test_a_letter_that_was_written_twice_has_one_identity(self) -> None:
        assert _letter(offset=3).identity == _letter(offset=8).identity


class TestPlan:
    def test_a_letter_goes_back_to_where_it_came_from_and_all_effects_follow(self) -> None:
        assert _decide(_letter()) == Republish(topic="crm.events.raw", effects=("row", "goal", "upload"))

    def test_a_replayed_record_keeps_key_value_and_event_id_and_is_counted(self) -> None:
        letter = _letter()

        record = sent_back(letter, run_id="r1")

        assert (record.topic, record.key, record.value) == ("crm.events.raw", letter.record.key, letter.record.value)
        assert header(record.headers, "event_id") == letter.event_id
        assert header(record.headers, "dlq.replay.count") == "1"
        assert header(record.headers, "dlq.replay.run.id") == "r1"

    def test_a_waiting_record_begins_its_way_anew_and_says_where_its_event_first_stood(self) -> None:
        letter = _letter("crm.events.waiting.dlq/good_undecodable", waiting_raw_partition="4", waiting_raw_offset="99")

        record = sent_back(letter, run_id="r1")

        assert _decide(letter) == Republish(topic="crm.events.raw")
        assert record.topic == "crm.events.raw"
        assert not [name for name, _value in record.headers if name.startswith("waiting.")]
        assert header(record.headers, "dlq.original.topic") == "crm.events.raw"
        assert header(record.headers, "dlq.original.offset") == "99"

    @pytest.mark.parametrize("stage", ["stored", "batched", "uploaded", "processed", "not_linked", "failed"])
    def test_another_amount_goes_back_as_a_persons_word_wherever_its_row_is(self, stage: str) -> None:
        letter = replace(_letter(UPLOAD_LETTER), error_class="amount_changed")

        action = _decide(letter, row=_row(stage=stage, goalpost1="processed"))

        assert action == Republish(topic="crm.conversions", effects=("row", "upload"))

    @pytest.mark.parametrize("fate", list(Fate))
    def test_what_has_a_fate_is_not_replayed_again(self, fate: Fate) -> None:
        assert _decide(_letter(), fate=fate) == Skipped(why=f"already {fate.value}")

    def test_discarded_letters_go_back_only_if_that_is_asked_for(self) -> None:
        limits = Limits(max_replays=3, discarded_too=True)

        assert isinstance(_decide(_letter(), fate=Fate.DISCARDED, limits=limits), Republish)
        assert isinstance(_decide(_letter(), fate=Fate.REPLAYED, limits=limits), Skipped)

    @pytest.mark.parametrize(("by_header", "resets"), [(3, 0), (0, 3), (2, 3)])
    def test_replays_are_limited_however_they_are_counted(self, by_header: int, resets: int) -> None:
        letter = replace(_letter(UPLOAD_LETTER), replays=by_header)

        assert isinstance(_decide(letter, row=_row(resets=resets)), Blocked)
        assert isinstance(_decide(letter, row=_row(resets=resets), limits=Limits(max_replays=4)), ResetRow)

    def test_a_record_that_is_too_old_is_blocked(self) -> None:
        limits = Limits(max_replays=3, oldest_ms=ORIGIN_MS + 1)

        assert isinstance(_decide(_letter(), limits=limits), Blocked)
        assert isinstance(_decide(_letter(), limits=replace(limits, oldest_ms=ORIGIN_MS)), Republish)

    def test_a_conversion_whose_upload_failed_gets_its_row_reset(self) -> None:
        letter = _letter(UPLOAD_LETTER)

        assert needs_row(letter)
        assert _decide(letter, row=_row(first="rejected", second="rejected")) == ResetRow(event_id=letter.event_id)

    @pytest.mark.parametrize("stage", ["failed", "stored", "batched"])
    @pytest.mark.parametrize("state", ["prepared", "sending", "unknown", "accepted", "processed", "linkage_failure"])
    def test_a_row_that_metrika_may_have_is_never_uploaded_again(self, state: str, stage: str) -> None:
        action = _decide(_letter(UPLOAD_LETTER), row=_row(stage=stage, first="rejected", t0ken=state))

        assert action == Blocked(why=f"upload t0ken ({state}): Metrika may have the row")

    @pytest.mark.parametrize("name", [RAW_LETTER, UPLOAD_LETTER])
    @pytest.mark.parametrize("stage", ["stored", "uploaded", "processed", "not_linked"])
    def test_a_letter_whose_event_is_stored_is_closed(self, stage: str, name: str) -> None:
        action = _decide(_letter(name), row=_row(stage=stage))

        assert isinstance(action, Settle)
        assert stage in action.why

    @pytest.mark.parametrize("stage", ["failed", "stored"])
    def test_a_row_that_names_nobody_any_more_is_left_alone(self, stage: str) -> None:
        assert isinstance(_decide(_letter(UPLOAD_LETTER), row=replace(_row(stage=stage), anonymous=True)), Skipped)

    def test_a_row_of_another_program_is_left_alone(self) -> None:
        assert isinstance(_decide(_letter(UPLOAD_LETTER), row=_row(stage=None)), Skipped)

    def test_a_passed_deadline_is_said_beforehand(self) -> None:
        action = _decide(_letter(UPLOAD_LETTER), row=_row(deadline_ms=NOW_MS - 1))

        assert isinstance(action, ResetRow)
        assert "expire" in action.note

    def test_a_conversion_whose_row_is_gone_is_published_again(self) -> None:
        assert _decide(_letter(UPLOAD_LETTER), row=None) == Republish(topic="crm.conversions")

    def test_a_kept_body_becomes_raw_events(self) -> None:
        assert _decide(_letter("crm.events.rejected/good_body_unparseable")) == Republish(topic="crm.events.raw")

    def test_a_configuration_is_published_anew_and_not_replayed(self) -> None:
        assert isinstance(_decide(_letter("goalpost.webhooks.dlq/good_undecodable")), Skipped)


class TestJournal:
    def test_it_remembers_the_last_fate_of_each_letter(self) -> None:
        marks = [("a", Fate.DISCARDED), ("b", Fate.FIXED), ("a", Fate.REPLAYED)]

        journal = Journal(_as_read(mark(name, fate, event_id="e", run_id="r")) for name, fate in marks)

        assert (journal.fate("a"), journal.fate("b"), journal.fate("c")) == (Fate.REPLAYED, Fate.FIXED, None)

    def test_a_run_that_was_cut_off_has_no_end(self) -> None:
        whole = Run(run_id="1", by="ops", started_at="t0", selection="everything", finished_at="t1", counts={"a": 1})
        cut_off = replace(whole, run_id="2", finished_at="", counts={})

        journal = Journal(
            map(_as_read, [run_record(replace(whole, finished_at="")), *map(run_record, (whole, cut_off))])
        )

        assert journal.runs == (whole, cut_off)

    def test_audit_records_are_plain_json(self) -> None:
        run = Run(run_id="1", by="ops", started_at="t0", selection="everything", reason="a test order")

        assert json.loads(run_record(run).value or b"")["reason"] == "a test order"


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
    """Kafka and Postgres as one ordered list of effects; may fail at one. A batch to Kafka is all or none."""

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
        return Journal(_as_read(record) for record in self.sent if record.topic == "goalpost.replays")

    def events(self) -> list[str | None]:
        """Return the events that went back to the raw topic."""
        return [header(record.headers, "dlq.id") for record in self.sent if record.topic == "crm.events.raw"]


def _as_it_was(letter: Letter) -> Records:
    back = sent_back(letter, run_id="run")
    return (replace(back, headers=(*back.headers, ("dlq.id", letter.identity.encode()))),)


def _planner(world: World, *, fixes: bool = False) -> Planner:
    return Planner(
        journal=world.journal(),
        rows=world,
        remake=_as_it_was,
        limits=Limits(max_replays=3),
        now_ms=NOW_MS,
        fixes=fixes,
    )


def _run(world: World, letters: list[Letter]) -> None:
    for chunk in _planner(world).planned(letters):
        carried_out(chunk, rows=world, sender=world, run_id="run")


class TestReplay:
    def test_large_letters_come_in_smaller_chunks(self) -> None:
        large = [
            replace(letter, record=replace(letter.record, value=bytes(CHUNK_BYTES // 2)))
            for letter in map(_another, range(3))
        ]

        assert [len(chunk) for chunk in chunks(large)] == [2, 1]
        assert [len(chunk) for chunk in chunks(map(_another, range(5)), most=2)] == [2, 2, 1]

    def test_what_goes_back_and_its_mark_are_written_together(self) -> None:
        letters = [_another(0), _letter(UPLOAD_LETTER, offset=1)]
        world = World(rows={letters[1].event_id: _row()})

        _run(world, letters)

        assert world.effects == ["reset 1", "sent 3 to crm.events.raw, goalpost.replays"]

    def test_a_second_run_does_nothing(self) -> None:
        letters = [_another(offset) for offset in range(CHUNK_LETTERS + 5)]
        world = World()
        _run(world, letters)
        before = list(world.effects)

        _run(world, letters)

        assert world.effects == before

    @pytest.mark.parametrize("effects", range(3))
    def test_a_run_killed_anywhere_and_run_again_replays_each_letter_once(self, effects: int) -> None:
        letters = [_another(0), _another(1), _letter(UPLOAD_LETTER, offset=2)]
        world = World(rows={letters[2].event_id: _row()}, dies_after=effects)
        try:
            _run(world, letters)
        except DeliveryFailed:
            world.dies_after = None
            _run(world, letters)

        assert sorted(world.events(), key=str) == ["letter 0", "letter 1"]
        assert world.rows[letters[2].event_id].stage == "stored"
        assert world.effects.count("reset 1") == 1
        assert all(world.journal().fate(letter.identity) for letter in letters)

    def test_a_row_that_changed_meanwhile_is_reported_and_not_marked(self) -> None:
        letter = _letter(UPLOAD_LETTER)
        world = World(rows={letter.event_id: _row()})
        (chunk,) = _planner(world).planned([letter])
        world.rows[letter.event_id] = _row(stage="uploaded")

        (done,) = carried_out(chunk, rows=world, sender=world, run_id="run")

        assert isinstance(done.action, Blocked)
        assert world.effects == []

    def test_a_fix_does_not_reach_a_stored_row(self) -> None:
        letter = _letter(UPLOAD_LETTER)
        world = World(rows={letter.event_id: _row()})

        ((decided,),) = _planner(world, fixes=True).planned([letter])

        assert isinstance(decided.action, Blocked)

    def test_fixed_letters_are_marked_as_such(self) -> None:
        world = World()
        (chunk,) = _planner(world, fixes=True).planned([_letter()])
        carried_out(chunk, rows=world, sender=world, run_id="run")

        assert world.journal().fate(_letter().identity) is Fate.FIXED

    def test_a_dry_run_has_no_effect(self) -> None:
        world = World()

        assert list(_planner(world).planned([_letter()]))
        assert world.effects == []


class TestPace:
    def test_a_run_ends_when_too_many_fail_in_a_row(self) -> None:
        streak, failed, done = Streak(3), Failed(why="no"), Republish(topic="t")

        assert streak.stops([failed, failed, done, Untouched(), failed], returned=0) == ""
        assert "3 letters in a row" in streak.stops([Blocked(why="x"), failed, failed], returned=0)

    def test_a_run_ends_when_too_many_have_come_back(self) -> None:
        assert Streak(3).stops([], returned=2) == ""
        assert "come back" in Streak(3).stops([], returned=3)

    def test_a_rate_is_kept_on_the_average(self) -> None:
        slept: list[float] = []
        now = iter([0.0, 0.0, 0.1, 5.0])

        list(paced([[1, 2], [3, 4], [5]], 4.0, clock=lambda: next(now), sleep=slept.append))

        assert slept == [0.0, 0.4, 0.0]
        assert (chunk_letters(None), chunk_letters(4), chunk_letters(0.5)) == (CHUNK_LETTERS, 2, 1)
