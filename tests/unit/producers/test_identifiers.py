"""Identifiers: what is wrapped around one is taken off, and what stands for none is none."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fields import BadField
from producers.identifiers import NoIdentifier, digits, identifier, is_rounded

YM_UID = "1744296311369632447"
INVISIBLE = [
    *("\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\ufeff", "\u2060", "\u202a", "\u202b", "\u202c", "\u202d"),
    *("\u202e", "\u2066", "\u2069", "\u00ad", "\u061c", "\u180e", "\u3164", "\ufe0f", "\U000e0020"),
]


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda one: f"U+{ord(one):04X}")
def test_an_invisible_character_is_no_part_of_an_id(character: str) -> None:
    for written in (
        character + YM_UID,
        YM_UID + character,
        YM_UID[:5] + character + YM_UID[5:],
        f" {character} {YM_UID}",
    ):
        assert digits({"v": written}, "v") == YM_UID
        assert identifier({"v": written}, "v") == YM_UID


@pytest.mark.parametrize(
    "wrapped",
    [
        f'"{YM_UID}"', f"'{YM_UID}'", f"'{YM_UID}", f"\u201c{YM_UID}\u201d", f"\u00ab{YM_UID}\u00bb",
        f"\u2018{YM_UID}\u2019",
        f"`{YM_UID}`", f'="{YM_UID}"', f'"=""{YM_UID}"""', f"={YM_UID}", f"_ym_uid={YM_UID}", f"ym_uid={YM_UID}",
        f"_ym_uid: {YM_UID}", f"ClientID={YM_UID}", f"_ym_uid={YM_UID}; path=/", f"_ym_uid%3D{YM_UID}",
        f"%22{YM_UID}%22",
        f"%2522{YM_UID}%2522", f"%3D%22{YM_UID}%22", f"&quot;{YM_UID}&quot;", f"[{YM_UID}]", f'["{YM_UID}"]',
        f"{YM_UID};", f"{YM_UID},", f" {YM_UID}\u00a0", f"\u200b'{YM_UID}'\u200b", [YM_UID], [[YM_UID]], {"0": YM_UID},
        [int(YM_UID)], [f'"{YM_UID}"'],
    ],
)  # fmt: skip
def test_what_people_and_programs_wrap_around_an_id_is_taken_off(wrapped: object) -> None:
    assert digits({"ym_uid": wrapped}, "ym_uid") == YM_UID


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("session_id", "session_id=abc-1", "abc-1"),
        ("session_id", '"abc"', "abc"),
        ("session_id", "session:abc", "session:abc"),
        ("session_id", "a%2Fb", "a/b"),
        ("session_id", "100%", "100%"),
        ("session_id", "%ff", "%ff"),
        ("order_id", '="A-1042"', "A-1042"),
        ("order_id", "order_id=7", "7"),
        ("order_id", "x=7", "x=7"),
        ("order_id", "№ 7", "№ 7"),
        ("order_id", "0", "0"),
        ("yclid", "yclid=16064509312686620671", "16064509312686620671"),
        ("user_id", 42, "42"),
    ],
)
def test_only_the_fields_own_name_is_taken_off(name: str, written: object, expected: str) -> None:
    assert identifier({name: written}, name) == expected


@pytest.mark.parametrize(
    "nothing",
    [0, False, {}, [], [0], [[]], "null", "NULL", "undefined", '"undefined"', "NaN", "None", "false", "[object Object]",
     "{{ym_uid}}", "{=Document:UF_CRM_YM}", "${id}", "\u200b", '""', "-", "—", "..."],
)  # fmt: skip
def test_what_stands_for_none_is_no_id_and_the_reason_is_true(nothing: object) -> None:
    for name, read in (("ym_uid", digits), ("session_id", identifier), ("order_id", identifier)):
        with pytest.raises(NoIdentifier, match=rf"^{name} is there and is no id: (it is|it has|there is) .*; send "):
            read({name: nothing}, name)


@pytest.mark.parametrize("nothing", [None, "", "  ", [None], {"0": None}, [""]])
def test_what_is_empty_was_not_sent(nothing: object) -> None:
    assert digits({"ym_uid": nothing}, "ym_uid") is None


@pytest.mark.parametrize(
    "written",
    ["18446744073709551616", "123456789012345678901", "12a", "-5", "+5", "1.6e18", "1,7E+18", "１２", -5, "174 429",
     "a" * 257, "1\n2", [1, 2], {"a": 1}, True, "GA1.2.55.66"],
)  # fmt: skip
def test_a_visitor_id_is_at_most_twenty_digits_below_two_to_the_sixty_fourth(written: object) -> None:
    with pytest.raises(BadField, match=r"^ym_uid ") as refused:
        digits({"ym_uid": written}, "ym_uid")
    assert not isinstance(refused.value, NoIdentifier)


def test_zero_is_no_visitor_however_it_is_written() -> None:
    for written in ("0", "000", "'0'"):
        with pytest.raises(NoIdentifier):
            digits({"ym_uid": written}, "ym_uid")


def test_an_identifier_may_be_a_json_integer_but_never_a_float() -> None:
    assert digits({"v": 18_446_744_073_709_551_615}, "v") == "18446744073709551615"
    assert digits({"v": 1_744_296_311_369_632_447}, "v") == YM_UID
    with pytest.raises(BadField, match=r"2\^53.*send it as text"):
        digits({"v": 1.6667072272460444e18}, "v")


@pytest.mark.parametrize("number", [1744296311369632500, 1666707227246044400, 9007199254740994, -1744296311369632500])
def test_a_number_that_javascript_has_rounded_is_not_believed(number: int) -> None:
    assert is_rounded(number)
    for name, read in (("ym_uid", digits), ("user_id", identifier), ("order_id", identifier)):
        with pytest.raises(BadField, match=r"JavaScript has rounded.*send it as text"):
            read({name: number}, name)
    assert digits({"v": "1744296311369632500"}, "v") == "1744296311369632500"


@given(st.integers(2**53, 2**64 - 1))
def test_what_json_stringify_writes_of_any_number_is_known_as_rounded(number: int) -> None:
    written = json.dumps(float(number))  # the shortest digits, as JavaScript writes them
    mantissa, _, exponent = written.partition("e+")
    digits_of = mantissa.replace(".", "").ljust(int(exponent) + 1, "0") if exponent else mantissa.partition(".")[0]
    assert is_rounded(int(digits_of))
    assert is_rounded(number) is (str(number) == digits_of)


@given(st.integers(1, 2**53 - 1))
def test_no_number_that_javascript_can_hold_is_taken_for_rounded(number: int) -> None:
    assert identifier({"v": number}, "v") == str(number)


@given(st.text("abcdefghij0123456789_-.:/", min_size=1, max_size=60).filter(lambda one: any(map(str.isalnum, one))))
def test_a_plain_id_stays_as_it_is_and_percent_encoding_does_not_change_it(written: str) -> None:
    if written.casefold() in ("null", "nil", "nan"):
        return
    assert identifier({"v": written}, "v") == identifier({"v": quote(written, safe="")}, "v")
