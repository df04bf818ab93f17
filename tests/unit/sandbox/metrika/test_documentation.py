"""The simulator explains itself: its page in the documentation and its help name everything that it can do."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.metrika.__main__ import main
from sandbox.metrika.configuration import settings_explained
from sandbox.metrika.control.routes import explained_routes
from sandbox.metrika.faults import EXPLAINED, Operation

PAGE = (Path(__file__).parents[4] / "docs" / "metrika-simulator.md").read_text(encoding="utf-8")


def test_the_page_has_every_setting_with_its_default_every_fault_and_every_route() -> None:
    lines = [f"| `{one.name}` | {one.default_shown()} | {one.purpose} |" for one in settings_explained()]
    lines += [f"| `{fault}` | {what} |" for fault, what in EXPLAINED.items()]
    lines += [f"| `{route.path}` | {', '.join(route.methods)} | {route.purpose} |" for route in explained_routes()]

    assert [line for line in lines if line not in PAGE] == []
    assert all(f"`{operation}`" in PAGE for operation in Operation)


def test_the_help_names_every_setting() -> None:
    text = CliRunner().invoke(main, ["--help"]).output

    assert all(one.name in text and one.purpose in text for one in settings_explained())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--set", "quota_status=500"], "quota_status"),
        (["--set", "oops=1"], "oops"),
        (["--set", "strict_tokens"], "NAME=VALUE"),
        (["--configuration", "[]"], "settings"),
    ],
)
def test_a_wrong_setting_ends_the_start_and_is_named(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert named in result.output
