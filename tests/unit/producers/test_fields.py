"""Texts: what is taken off, and what is refused with the field's name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from producers.fields import WRITTEN_LIMIT, BadField, text
from producers.identifiers import digits, identifier
from producers.money import currencies, money


@pytest.mark.parametrize("reader", [text, identifier, digits, money])
@pytest.mark.parametrize("nothing", [None, "", "   ", "\t\n"])
def test_empty_text_is_absent(reader: Callable[..., object], nothing: object) -> None:
    assert reader({"v": nothing}, "v") is None
    assert reader({}, "v") is None
    assert currencies({"v": nothing}, "v") == ()


@pytest.mark.parametrize("written", ["a" * 257, "a\x00b", "a\nb", "a\x85b", "a\u2028b", "a\x9bb", True, 1.5, [], {}])
def test_a_text_is_printable_and_short(written: object) -> None:
    with pytest.raises(BadField, match=r"^goal_name "):
        text({"goal_name": written}, "goal_name")


def test_a_text_may_be_in_any_language_and_as_long_as_the_limit() -> None:
    assert text({"v": f" {'я' * 256} "}, "v") == "я" * 256
    assert text({"v": "a\u00a0b"}, "v") == "a\u00a0b"
    assert text({"v": 7}, "v") == "7"


@pytest.mark.parametrize("invisible", ["\u200b", "\ufeff", "\u202e", "\u2060", "\u00ad", "\u2066", "\U000e0041"])
def test_what_nobody_sees_is_taken_off_a_text(invisible: str) -> None:
    assert text({"v": f"{invisible} order{invisible}_paid {invisible}"}, "v") == "order_paid"
    assert text({"v": invisible}, "v") is None


@pytest.mark.parametrize("reader", [text, identifier, digits, money, currencies])
@pytest.mark.parametrize("character", ["a", "0", "\u200b", "%20", '"', "я"])
def test_no_field_is_interpreted_that_is_longer_than_any_could_be(
    reader: Callable[..., object], character: str
) -> None:
    with pytest.raises(BadField, match=r"^v .*(longer|too long)"):
        reader({"v": character * (WRITTEN_LIMIT + 1)}, "v")


def test_a_refusal_within_something_keeps_its_kind() -> None:
    with pytest.raises(BadField) as refused:
        identifier({"v": "null"}, "v")
    located = refused.value.within("[3].")
    assert (type(located), located.field) == (type(refused.value), "[3].v")
    assert str(located).startswith("[3].v is there and is no id: it is the word null; ")
    assert located.problem == "is there and is no id: it is the word null"
