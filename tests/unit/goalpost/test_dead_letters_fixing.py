"""Fix and replay: what a person may change of a letter, what nobody may, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from goalpost.dead_letters.bodies import Parser
from goalpost.dead_letters.fixing import BadTransform, Fixes, Transform, transform_of
from goalpost.dead_letters.letter import Letter, letter_of
from goalpost.dead_letters.plan import Failed, Untouched
from goalpost.dead_letters.remake import Partly, Records, Unfixable, remade, sent_back
from producers.dialects import DIALECTS
from producers.raw_events import Delivery
from producers.taking import Taken, taken
from schemas.contracts import RAW_EVENTS
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.events import RawEvent, Webhook
from schemas.identity import event_id_for, event_key
from schemas.records import Incoming, Outgoing, header
from schemas.topics import RAW, REJECTED
from tests.unit.schemas.examples import codec_of, examples, letter_record

CODEC = codec_of(RAW_EVENTS)
BY_NAME = {str(example): example for example in examples("")}
WEBHOOK = Webhook(
    webhook_id="6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11",
    counter_id="c",
    metrika_counter_id=1,
    name="shop",
    dialect="generic",
    secret_hashes=(),
    sealed_secrets=(),
    default_goal="crm_conversion",
    changed_at=0,
)


def _letter() -> Letter:
    record = letter_record(BY_NAME["crm.events.raw.dlq/good_session_not_found"], offset=0)
    return letter_of(replace(record, value=CODEC.encode(_event())))


def _event(**over: Any) -> RawEvent:
    values: dict[str, Any] = {
        "event_id": "8d1b6a2e-5c0f-5d4b-9a3e-2f4c6b8d0e1a",
        "webhook_id": WEBHOOK.webhook_id,
        "dialect": "generic",
        "received_at": 1,
        "occurred_at": 1,
        "session_id": "1767225000_k3j9x2",
        "goal_value": Decimal(5),
    }
    return RawEvent(**{**values, **over})


def _fixed(transform: Transform) -> Outgoing | None:
    letter = _letter()
    return Fixes(transform, lambda _: CODEC).record(letter, sent_back(letter, run_id="r", fixed=True))


def _script(folder: Path, source: str) -> Path:
    path = folder / "fix.py"
    path.write_text(source)
    return path


class TestFields:
    def test_a_field_is_set_and_everything_else_stays(self) -> None:
        record = _fixed(transform_of({"goal_value": "12.5", "currency": "RUB"}, None))

        assert record is not None
        assert CODEC.decode(record.value) == _event(goal_value=Decimal("12.5"), currency="RUB")
        assert record.key == _letter().record.key
        assert header(record.headers, "dlq.replay.fixed") == "true"

    def test_null_empties_a_field(self) -> None:
        record = _fixed(transform_of({"goal_value": "null"}, None))

        assert record is not None
        assert CODEC.decode(record.value).goal_value is None

    def test_another_session_moves_the_record_to_that_sessions_partition(self) -> None:
        record = _fixed(transform_of({"session_id": "another"}, None))

        assert record is not None
        assert record.key == b"s:another" == event_key(_event(session_id="another"))

    @pytest.mark.parametrize("name", ["event_id", "webhook_id", "received_at"])
    def test_what_effects_are_known_by_cannot_be_set(self, name: str) -> None:
        with pytest.raises(BadTransform, match=name):
            transform_of({name: "1"}, None)

    def test_an_unknown_field_is_named(self) -> None:
        with pytest.raises(Unfixable, match=r"crm\.events\.raw has no field goal"):
            _fixed(transform_of({"goal": "x"}, None))

    def test_a_value_of_the_wrong_kind_is_refused_without_quoting_it(self) -> None:
        with pytest.raises(Unfixable, match="goal_value: Input should be a valid decimal") as refused:
            _fixed(transform_of({"goal_value": "secret"}, None))

        assert "secret" not in str(refused.value)


class TestScripts:
    def test_a_function_changes_fields(self, tmp_path: Path) -> None:
        source = "def transform(fields):\n    fields['goal_value'] *= 100\n    return fields\n"
        record = _fixed(transform_of({}, _script(tmp_path, source)))

        assert record is not None
        assert CODEC.decode(record.value).goal_value == Decimal(500)

    @pytest.mark.parametrize("returned", ["None", "fields"])
    def test_what_a_function_leaves_is_untouched(self, tmp_path: Path, returned: str) -> None:
        assert _fixed(transform_of({}, _script(tmp_path, f"def transform(fields):\n    return {returned}\n"))) is None

    def test_a_function_over_bytes_mends_what_does_not_decode(self, tmp_path: Path) -> None:
        script = _script(tmp_path, "def transform_bytes(value):\n    return value[:-1]\n")
        letter = _letter()
        broken = replace(letter, record=replace(letter.record, value=CODEC.encode(_event()) + b"\0"))
        fixes = Fixes(transform_of({}, script), lambda _: CODEC)

        record = fixes.record(broken, sent_back(broken, run_id="r", fixed=True))

        assert record is not None
        assert CODEC.decode(record.value) == _event()

    def test_what_does_not_decode_needs_a_function_over_bytes(self) -> None:
        letter = _letter()
        broken = replace(letter, record=replace(letter.record, value=b"{}"))

        with pytest.raises(Unfixable, match="transform_bytes"):
            Fixes(transform_of({"currency": "RUB"}, None), lambda _: CODEC).record(
                broken, sent_back(broken, run_id="r")
            )

    @pytest.mark.parametrize("name", ["event_id", "webhook_id", "received_at"])
    def test_no_function_changes_what_effects_are_known_by(self, tmp_path: Path, name: str) -> None:
        value = "0" if name == "received_at" else "'another'"
        source = f"def transform(fields):\n    fields['{name}'] = {value}\n    return fields\n"

        with pytest.raises(Unfixable, match=name):
            _fixed(transform_of({}, _script(tmp_path, source)))

    def test_a_function_that_fails_leaves_the_letter_and_quotes_nothing(self, tmp_path: Path) -> None:
        source = "def transform(fields):\n    raise ValueError(fields['session_id'])\n"

        with pytest.raises(Unfixable) as failed:
            _fixed(transform_of({}, _script(tmp_path, source)))

        assert str(failed.value) == "the transform raised ValueError"

    def test_text_in_place_of_bytes_leaves_the_letter(self, tmp_path: Path) -> None:
        fixes = transform_of({}, _script(tmp_path, "def transform_bytes(value):\n    return value.hex()\n"))

        with pytest.raises(Unfixable, match="transform_bytes returned str"):
            _fixed(fixes)
        assert isinstance(_remade(_body(b"{"), fix=fixes.of_bytes), Failed)

    @pytest.mark.parametrize("source", ["def transform(fields:\n", "import nothing_of_that_name\n", "1 / 0\n"])
    def test_a_file_that_does_not_run_is_refused_with_its_own_error(self, tmp_path: Path, source: str) -> None:
        with pytest.raises(BadTransform, match=r"fix\.py does not run: \w+Error"):
            transform_of({}, _script(tmp_path, source))

    def test_a_file_without_a_function_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadTransform, match="neither transform"):
            transform_of({}, _script(tmp_path, "x = 1\n"))


def _body(value: bytes, *, content_type: str = "application/json", **headers: str) -> Letter:
    reason = Reason(error_class=ErrorClass.BODY_UNPARSEABLE, stage=Stage.PARSE, message="no")
    described = {
        "content-type": content_type,
        "received_at": "1767225600000",
        "dlq.id": "4a1d2c3b-5e6f-5a7b-8c9d-0e1f2a3b4c5d",
        "dlq.error.class": reason.error_class.value,
        **{name.replace("_", "-") if name != "delivery_key" else name: text for name, text in headers.items()},
    }
    return letter_of(
        Incoming(
            topic=REJECTED.name,
            partition=0,
            offset=0,
            timestamp=1,
            key=WEBHOOK.webhook_id.encode(),
            value=value,
            headers=tuple((name, text.encode()) for name, text in described.items()),
        )
    )


def _remade(
    letter: Letter, *, webhook: Webhook | None = WEBHOOK, fix: Callable[[bytes], bytes | None] | None = None
) -> Records | Partly | Failed | Untouched:
    fixes = None if fix is None else Fixes(Transform(settings={}, of_bytes=fix), lambda _: CODEC)
    return remade(letter, run_id="r", fix=fixes, parse=Parser(webhook=lambda _: webhook, codec=lambda: CODEC))


def _delivery(body: bytes, key: str | None) -> Delivery:
    return Delivery(
        webhook_id=WEBHOOK.webhook_id,
        dialect="zapier",
        received_at=1,
        body=body,
        content_type="application/json",
        query=None,
        key=key,
    )


class TestBodies:
    def test_a_kept_body_is_parsed_with_what_the_door_recorded(self) -> None:
        made = _remade(_body(b'{"order_id": "7"}', query="ym_uid=1666707227246044402&goal_name=won"))

        assert isinstance(made, tuple)
        (record,) = made
        event = CODEC.decode(record.value)
        assert (record.topic, record.key) == (RAW.name, b"u:1666707227246044402")
        assert (event.order_id, event.goal_name, event.received_at) == ("7", "won", 1_767_225_600_000)
        assert event.event_id == event_id_for(WEBHOOK.webhook_id, "order:7:won")
        assert header(record.headers, "dlq.replay.run.id") == "r"
        assert header(record.headers, "dlq.replay.count") == "1"

    def test_the_senders_delivery_key_gives_the_id_that_the_door_would_have_given(self) -> None:
        made = _remade(_body(b'{"session_id": "s"}', delivery_key="delivery 1"))

        assert isinstance(made, tuple)
        assert CODEC.decode(made[0].value).event_id == event_id_for(WEBHOOK.webhook_id, "delivery:delivery 1")

    def test_an_id_that_the_door_would_have_made_up_is_the_same_in_every_replay(self) -> None:
        letter = _body(b'[{"session_id": "s"}, {"session_id": "t"}]')

        first, second = _remade(letter), _remade(letter)

        assert isinstance(first, tuple)
        assert first == second
        assert len({header(record.headers, "event_id") for record in first}) == 2

    @pytest.mark.parametrize("key", [None, "delivery 1"])
    @pytest.mark.parametrize("bad_first", [True, False])
    def test_what_the_door_took_of_a_body_gets_the_same_id_when_the_rest_is_mended(
        self, key: str | None, bad_first: bool
    ) -> None:
        hook = replace(WEBHOOK, dialect="zapier")
        elements = [b'{"session_id": "s"}', b'{"session_id": "t", "goal_value": "oops"}']
        body = b"[" + b",".join(reversed(elements) if bad_first else elements) + b"]"
        at_the_door = taken(_delivery(body, key), (), hook, DIALECTS["zapier"], CODEC, new_id=iter("x").__next__)
        assert isinstance(at_the_door, Taken)
        kept = at_the_door.records[-1]
        read = Incoming(topic=kept.topic, partition=0, offset=0, timestamp=1, key=kept.key, value=kept.value)
        letter = letter_of(replace(read, headers=kept.headers))

        made = _remade(letter, webhook=hook, fix=lambda value: value.replace(b'"oops"', b"5"))
        moved = _remade(letter, webhook=hook, fix=lambda _: b"[" + elements[0] + b"]")

        assert isinstance(made, tuple)
        ids = {CODEC.decode(record.value).session_id: header(record.headers, "event_id") for record in made}
        assert [ids["s"]] == at_the_door.event_ids
        assert ids["t"] != ids["s"]
        assert isinstance(moved, Failed)
        assert "places" in moved.why

    def test_todays_dialect_counts(self) -> None:
        letter = _body(b"name=Ivan&ym_uid=1666707227246044402", content_type="application/x-www-form-urlencoded")

        made = _remade(letter, webhook=replace(WEBHOOK, dialect="tilda"))

        assert isinstance(made, tuple)
        assert CODEC.decode(made[0].value).dialect == "tilda"

    @pytest.mark.parametrize(
        ("body", "why"),
        [(b"{", "JSON"), (b"{}", "Missing session_id or ym_uid"), (b'{"test": "test"}', "no conversion")],
    )
    def test_a_body_that_is_still_no_conversion_stays(self, body: bytes, why: str) -> None:
        made = _remade(_body(body))

        assert isinstance(made, Failed)
        assert why in made.why

    def test_without_its_webhook_a_body_stays(self) -> None:
        assert isinstance(_remade(_body(b'{"session_id": "s"}'), webhook=None), Failed)

    def test_a_body_can_be_fixed_before_it_is_parsed(self) -> None:
        made = _remade(_body(b"{"), fix=lambda value: value + b'"session_id": "s"}')

        assert isinstance(made, tuple)
        assert header(made[0].headers, "dlq.replay.fixed") == "true"

    def test_a_body_that_the_fix_leaves_is_untouched(self) -> None:
        assert _remade(_body(b"{"), fix=lambda _: None) == Untouched()

    def test_a_body_has_no_fields_to_set(self) -> None:
        letter = _body(b'{"session_id": "s"}')
        fixes = Fixes(transform_of({"currency": "RUB"}, None), lambda _: CODEC)
        made = remade(letter, run_id="r", fix=fixes, parse=Parser(webhook=lambda _: WEBHOOK, codec=lambda: CODEC))

        assert isinstance(made, Failed)
        assert "transform_bytes" in made.why
