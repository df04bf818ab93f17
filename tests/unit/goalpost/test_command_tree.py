"""What holds for every command: one object as JSON, one pair of options for dry runs, one line a row in a pipe."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from goalpost.cli import main
from goalpost.console import json_option, output, show_rows

ROOT: Final = Path(__file__).parents[3]
# What people call the option that ends a dry run, or asks for one, elsewhere.
_DRY_RUN_NAMES: Final = frozenset(
    {
        *("--execute", "--apply", "--yes", "--run", "--really", "--force", "--confirm", "--commit", "--write", "--do"),
        *("--dry-run", "--no-dry-run", "--plan", "--simulate"),
    }
)
# They print JSON in parts, for which there is no object in memory: one object over many lines, and one a line.
_PRINTERS: Final = {"goalpost/console.py", "goalpost/dead_letters/progress.py", "goalpost/topics/reading.py"}


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = f"{path} {name}".strip()
        yield words, command
        if isinstance(command, click.Group):
            yield from commands(command, words)


COMMANDS: Final = dict(commands(main))
WITH_JSON: Final = {words for words, one in COMMANDS.items() if any("--json" in param.opts for param in one.params)}


def _documented() -> set[str]:
    """The commands of the table of JSON objects: `a b`, `c` in a row are `a b` and `a c`."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    found = set()
    for line in page.partition("**JSON.**")[2].partition("## trace")[0].splitlines():
        cell = line.split("|")[1] if line.startswith("| `") else ""
        first, *others = (name.strip(" `") for name in cell.split(","))
        if first:
            found |= {first, *(f"{first.rpartition(' ')[0]} {other}" for other in others)}
    return found


def test_the_page_of_commands_describes_the_object_of_every_command_that_has_json() -> None:
    assert _documented() == WITH_JSON


@pytest.mark.parametrize("words", sorted(WITH_JSON))
def test_json_is_the_same_option_everywhere(words: str) -> None:
    (option,) = (param for param in COMMANDS[words].params if "--json" in param.opts)
    shared = click.Command("any", callback=json_option(lambda: None)).callback
    expected = next(iter(getattr(shared, "__click_params__")))  # noqa: B009 - click's own place for them

    assert isinstance(option, click.Option)
    assert (option.name, option.is_flag) == ("as_json", True)
    assert words == "demo" or option.help == expected.help


def test_json_for_programs_is_printed_in_one_place() -> None:
    strays = []
    for path in sorted((ROOT / "goalpost").rglob("*.py")):
        printed = (
            inner
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "print", "console.print")
            for inner in ast.walk(node)
            if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "json.dumps"
        )
        name = str(path.relative_to(ROOT))
        strays += [f"{name}:{found.lineno}" for found in printed if name not in _PRINTERS]
    assert strays == []


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_a_dry_run_has_the_same_two_options_everywhere(words: str) -> None:
    shown = [param for param in COMMANDS[words].params if isinstance(param, click.Option) and not param.hidden]
    meant = [param for param in shown if _DRY_RUN_NAMES & {*param.opts, *param.secondary_opts}]

    assert [(param.opts, param.secondary_opts) for param in meant] in ([], [(["--execute"], ["--dry-run"])])


@pytest.mark.parametrize(
    "words", [words for words, one in COMMANDS.items() if any("--apply" in param.opts for param in one.params)]
)
@pytest.mark.parametrize(("said", "executes"), [([], False), (["--apply"], True), (["--execute"], True)])
def test_the_former_name_of_execute_still_works(words: str, said: list[str], executes: bool) -> None:
    command = COMMANDS[words]
    reason = ["--reason", "x"] if any("--reason" in param.opts for param in command.params) else []

    assert command.make_context(words, [*reason, *said]).params["execute"] is executes


def test_commands_print_through_one_console() -> None:
    strays = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in sorted((ROOT / "goalpost").rglob("*.py"))
        if path.name != "console.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Console" and "stderr=True" not in ast.unparse(node)
    ]
    assert strays == []


def test_a_row_in_a_pipe_is_one_line_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": str(number), "name": "long name " * 100, "url": "https://x/" + "y" * 2000} for number in range(3)]

    show_rows("rows", rows, as_json=False, hint="")

    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "name", "url"]
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert all(line.rstrip().endswith("y" * 2000) for line in lines)


def test_a_line_break_in_a_value_makes_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows("rows", [{"id": "1", "name": "first\nsecond\r\nthird"}], as_json=False, hint="")

    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_sentence_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output().print("word " * 1000)

    assert len(capsys.readouterr().out.splitlines()) == 1
