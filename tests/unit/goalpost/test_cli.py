"""The command: quick to ask, clear in failure, and never more imported than is used."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from goalpost import cli
from goalpost.cli import Command, LazyGroup, load_command, main
from goalpost.table import COMMANDS, SINKS, Entry
from runtime.failures import Fatal, Transient
from runtime.settings import BadSettings

HEAVY = ("faust", "confluent_kafka", "psycopg", "pydantic", "requests", "rich", "uvicorn", "starlette")


def _imported_by(arguments: list[str]) -> set[str]:
    """Return which heavy libraries the command loads in a process of its own."""
    code = (
        "import sys\nfrom goalpost.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(HEAVY) & set(answer.stdout.rpartition("loaded")[2].replace("'", "").strip(" []\n").split(", "))


def test_help_imports_no_stage_and_no_library() -> None:
    assert _imported_by(["--help"]) == set()


def test_help_of_the_webhook_does_not_import_the_join() -> None:
    assert "faust" not in _imported_by(["webhook", "--help"])


def test_help_names_every_command_with_its_summary() -> None:
    shown = " ".join(CliRunner().invoke(main, ["--help"]).output.split())

    for entry in COMMANDS:
        assert entry.name in shown
        assert entry.summary in shown
        assert entry.audience in shown


@pytest.mark.parametrize("entry", [*COMMANDS, *SINKS], ids=lambda entry: entry.name)
def test_every_command_is_there(entry: Entry) -> None:
    command = load_command(entry)

    assert isinstance(command, click.Command)
    assert command.help


def test_without_the_sandbox_its_commands_say_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sandbox", None)
    monkeypatch.delitem(sys.modules, "sandbox.commands", raising=False)

    answer = CliRunner().invoke(main, ["up"])

    assert (answer.exit_code, "make up" in answer.output) == (1, True)


def test_a_plain_function_is_a_command_and_its_result_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def main_of_a_stage() -> int:
        """Run it."""
        return 3

    monkeypatch.setattr(cli, "a_stage", main_of_a_stage, raising=False)
    command = load_command(Entry(name="stage", target="goalpost.cli:a_stage", summary="."))

    assert CliRunner().invoke(command).exit_code == 3
    assert "Run it." in CliRunner().invoke(command, ["--help"]).output


class _Failing(Command):
    """A tree whose only command raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__(name="top", entries=[Entry(name="fails", target="nowhere:nothing", summary=".")])
        self._error = error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command that raises."""
        return click.Command(cmd_name, callback=self._fail)

    def _fail(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fatal("the topic is gone. Run `goalpost topics apply`."), 1),
        (Transient("Kafka does not answer"), 1),
        (BadSettings(["KAFKA_BOOTSTRAP_SERVERS: is missing"]), 2),
    ],
    ids=["fatal", "transient", "settings"],
)
def test_a_known_failure_is_a_message_and_no_traceback(error: Exception, code: int) -> None:
    answer = CliRunner().invoke(_Failing(error), ["fails"])

    assert answer.exit_code == code
    assert str(error) in answer.output
    assert "Traceback" not in answer.output


def test_an_unknown_failure_is_not_hidden() -> None:
    answer = CliRunner().invoke(_Failing(ZeroDivisionError()), ["fails"])

    assert isinstance(answer.exception, ZeroDivisionError)


def test_a_missing_extra_is_said_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'jgo'", name="jgo")

    monkeypatch.setattr(cli, "import_module", missing)

    with pytest.raises(click.ClickException, match=r"jgo.*goalpost\[sandbox\]"):
        load_command(Entry(name="up", target="sandbox.commands:up", summary="."))


def test_a_mistake_of_ours_is_not_taken_for_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError):
        load_command(Entry(name="up", target="goalpost.nothing_of_this_name:up", summary="."))


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("FROM_FILE=file\nFROM_BOTH=file\nQUOTED='a b' # comment\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FROM_BOTH", "environment")
    for name in ("FROM_FILE", "QUOTED"):
        monkeypatch.setenv(name, "so that it is removed afterwards")
        monkeypatch.delenv(name)
    seen: dict[str, str] = {}

    @click.command()
    def look() -> None:
        seen.update({name: os.environ[name] for name in ("FROM_FILE", "FROM_BOTH", "QUOTED")})

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: look)
    CliRunner().invoke(main, ["look"], catch_exceptions=False)

    assert seen == {"FROM_FILE": "file", "FROM_BOTH": "environment", "QUOTED": "a b"}


def test_the_version_is_the_installed_one() -> None:
    version = import_module("importlib.metadata").version("goalpost")

    assert CliRunner().invoke(main, ["--version"], prog_name="goalpost").output == f"goalpost {version}\n"


def test_a_misspelt_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["webhok"]).exit_code == 2
