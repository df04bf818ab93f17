"""Nothing that strangers have written reaches a terminal as it is, whichever command prints it."""

from __future__ import annotations

import ast
import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from goalpost import cli, console
from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.progress import Line, Listing
from goalpost.dead_letters.view import Shown, show_groups, show_letters
from runtime.failures import Fatal
from schemas.characters import control_in, shown, shown_json, shown_lines, without_invisible
from schemas.records import Incoming
from schemas.topics import RAW

# Clears the screen, sets the window's title, hides text, turns the rest of the line round, and has no shape.
EVIL = "a\x1b[2J\x1b]0;owned\x07\x9b31m\x00\r\x08\x7f\x85\u202ecod.exe\u2066\u200b\u2028\ufeff\u00adz"
GOALPOST = Path(console.__file__).parent


def is_harmless(text: str) -> bool:
    """Whether a terminal only draws it: no controls but line ends, nothing that hides or turns round."""
    return all(
        character in "\n\t" or (unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
        for character in text
    )


@given(st.text())
def test_what_is_shown_is_harmless_whatever_it_was(text: str) -> None:
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf") + EVIL
    for written in (shown(visible), shown_lines(visible)):
        assert is_harmless(written)
    assert shown("обычный текст, 1 500 ₽ ❤\ufe0f") == "обычный текст, 1 500 ₽ ❤\ufe0f"


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_means_the_same_after_it_was_made_fit_to_read(content: Any) -> None:
    written = json.dumps(content, ensure_ascii=False)
    if not any("\ud800" <= character <= "\udfff" for character in written):
        assert json.loads(shown_json(written)) == content
    assert is_harmless(shown_json(json.dumps([EVIL, "\U000e0041"], ensure_ascii=False)))


def test_every_character_that_unicode_calls_ignorable_or_that_turns_text_is_invisible() -> None:
    formats = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]
    # Signs of Arabic, Syriac and Kaithi that enclose digits have a shape.
    drawn = [one for one in formats if without_invisible(one)]
    assert all(unicodedata.name(one).split()[0] in ("ARABIC", "SYRIAC", "KAITHI") for one in drawn)
    assert without_invisible("a\u3164b\u034fc\ufe0fd") == "abcd"
    assert without_invisible("обычный\u00a0текст") == "обычный\u00a0текст"
    assert control_in("обычный\u00a0текст") is None
    assert [control_in(f"a{one}") for one in "\x00\n\x1b\x7f\x85\x9f\u2028"] == [
        *("U+0000", "U+000A", "U+001B", "U+007F", "U+0085", "U+009F", "U+2028")
    ]


def _table() -> None:
    table = Table("name", box=None)
    table.add_row(EVIL)
    console.output().print(table)


def _letter() -> Incoming:
    headers = {"dlq.error.class": "event_invalid", "dlq.error.message": EVIL, "dlq.stage": EVIL, EVIL: EVIL}
    return Incoming(
        topic=RAW.dead_letters,
        partition=0,
        offset=7,
        timestamp=0,
        key=EVIL.encode(),
        value=json.dumps({EVIL: EVIL}).encode(),
        headers=tuple((name, value.encode()) for name, value in headers.items()),
    )


def _show(*, as_json: bool, reveal: bool) -> Callable[[], None]:
    letter = Shown(letter=letter_of(_letter()), fields=None, way=EVIL, fate=None)
    return lambda: show_letters([letter], reveal=reveal, as_json=as_json)


def _listing(*, as_json: bool) -> Callable[[], None]:
    def run() -> None:
        listing = Listing(as_json=as_json)
        line = Line(place=EVIL, letter_id=EVIL, event_id=EVIL, error_class=EVIL, action="replay", detail=EVIL)
        listing.take([line, line])
        listing.end(None, stopped=EVIL)

    return run


PRINTING: dict[str, Callable[[], None]] = {
    "say": lambda: console.say(EVIL),
    "say_json": lambda: console.say_json({EVIL: [EVIL]}),
    "show": lambda: console.show({}, [EVIL, EVIL], as_json=False),
    "show as JSON": lambda: console.show({"a": EVIL}, [], as_json=True),
    "show_rows": lambda: console.show_rows(
        "r", [{"a": EVIL, "at": datetime(2026, 1, 1, tzinfo=UTC)}], as_json=False, hint=""
    ),
    "show_rows as JSON": lambda: console.show_rows("r", [{"a": EVIL}], as_json=True, hint=""),
    "output": lambda: console.output().print(EVIL, style="bold"),
    "output of a table": _table,
    "output of JSON": lambda: console.output().show_json({EVIL: [EVIL]}),
    "dlq ls": lambda: show_groups({("t", "c", "s", EVIL, "d"): Counter(open=1)}, as_json=False),
    "dlq ls --json": lambda: show_groups({("t", "c", "s", EVIL, "d"): Counter(open=1)}, as_json=True),
    "dlq show": _show(as_json=False, reveal=False),
    "dlq show --reveal": _show(as_json=False, reveal=True),
    "dlq show --reveal --json": _show(as_json=True, reveal=True),
    "dlq replay": _listing(as_json=False),
    "dlq replay --json": _listing(as_json=True),
}


@pytest.mark.parametrize("name", PRINTING)
def test_no_way_to_print_lets_a_terminal_be_steered(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    PRINTING[name]()
    printed = capsys.readouterr().out
    assert printed
    assert is_harmless(printed), ascii(printed)
    if name.endswith("--json") or "JSON" in name:
        json.loads(printed)


@pytest.mark.parametrize("raised", [click.ClickException(EVIL), Fatal(EVIL), click.BadParameter(EVIL)])
def test_an_error_is_shown_the_same_way(raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise raised

    monkeypatch.setattr(cli, "load_command", lambda _: failing)
    result = CliRunner().invoke(cli.main, ["trace"])
    assert result.exit_code != 0
    assert "owned" in result.output
    assert is_harmless(result.output), ascii(result.output)


def test_every_command_prints_through_the_one_place_that_escapes() -> None:
    """Also the next command: what prints otherwise is named here."""
    forbidden = ("click.echo", "click.secho", "print", "sys.stdout.write", "sys.stdout.buffer.write", "Console", "echo")
    found = [
        f"{path.relative_to(GOALPOST.parent)}:{node.lineno}: {ast.unparse(node)[:60]}"
        for path in sorted(GOALPOST.rglob("*.py"))
        if path != Path(console.__file__) and path.parent.name != "contracts"  # which reads our own schemas only
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call | ast.Name | ast.Attribute)
        and ast.unparse(getattr(node, "func", node)) in forbidden
        and not isinstance(getattr(node, "ctx", None), ast.Store)
    ]
    assert found == [], "say it with goalpost.console: say, say_json, show, show_rows or output()"
