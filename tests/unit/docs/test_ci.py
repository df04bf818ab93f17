"""CI cannot turn a loss green: what fails fails the run, once, with a seed that can be had again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
# What the script itself uses; everything else on the machine is hidden from it.
_TOOLS: Final = ("bash", "dirname", "git", "env", "cat")
# Chance that nobody can have again; `self._random.choice()` has a seed.
_OWN_CHANCE: Final = re.compile(
    r"(?<![\w.])random\.(randrange|randint|seed|choice|choices|random|uniform|shuffle|sample)\("
    r"|Random\(\)|SystemRandom|(?<![\w.])secrets\.(?!token|compare)"
)
_PROMISES: Final = (
    *("tests/e2e/test_kills.py", "tests/e2e/test_outages.py", "tests/e2e/test_door_outage.py"),
    *("tests/integration/test_metrika_kills.py", "tests/churn/test_churn.py", "tests/faults/test_promise.py"),
)


class Machine:
    """A machine on which `make` and `apt-get` only note what they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.touch()
        for tool in _TOOLS:
            found = shutil.which(tool)
            assert found is not None, tool
            (folder / tool).symlink_to(found)

    def has(self, program: str, script: str = "") -> None:
        """Install a program that notes how it is called and then does that."""
        file = self.folder / program
        file.write_text(f'#!/bin/bash\necho "{program} $*" >> {self.calls}\n{script}\n', encoding="utf-8")
        file.chmod(0o755)

    def run(self, **environ: str) -> int:
        """Run CI; return its exit code."""
        done = subprocess.run(
            [str(ROOT / ".ci" / "run")], env={"PATH": str(self.folder), **environ}, capture_output=True, check=False
        )
        return done.returncode

    def asked(self, program: str) -> list[str]:
        """How a program was called."""
        lines = self.calls.read_text(encoding="utf-8").splitlines()
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == program]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.has("make")
    made.has("docker-compose")
    made.has("apt-get")
    return made


def test_a_clean_run_checks_tests_and_shows(machine: Machine) -> None:
    assert machine.run() == 0
    assert [call.split()[0] for call in machine.asked("make")] == ["check", "test", "demo"]


@pytest.mark.parametrize("failing", ["check", "test", "demo"])
def test_what_fails_fails_the_run_and_is_not_tried_again(machine: Machine, failing: str) -> None:
    machine.has("make", f'[ "$1" != {failing} ]')

    assert machine.run() != 0
    assert [call.split()[0] for call in machine.asked("make")].count(failing) == 1


@pytest.mark.parametrize("apt", ["exit 1", 'echo "installed something else"'])
def test_a_tool_that_cannot_be_had_fails_the_run_before_anything_is_tested(machine: Machine, apt: str) -> None:
    (machine.folder / "docker-compose").unlink()
    machine.has("apt-get", apt)

    assert machine.run() != 0
    assert machine.asked("make") == []


def test_a_tool_that_is_missing_is_installed(machine: Machine) -> None:
    (machine.folder / "docker-compose").unlink()
    machine.has("apt-get", f'[ "$2" = install ] && cp {machine.folder}/make {machine.folder}/docker-compose; true')
    (machine.folder / "cp").symlink_to(shutil.which("cp") or "")

    assert machine.run() == 0


def test_nothing_is_left_out_and_the_seed_is_that_of_the_commit(machine: Machine) -> None:
    machine.run()
    machine.run()
    first, second = (call for call in machine.asked("make") if call.startswith("test"))

    assert first == second
    assert re.fullmatch(r"test ARGS=--promise-seed \d+ --no-skips", first)


def test_a_run_can_be_had_again_and_the_processes_under_test_do_not_see_its_seed(machine: Machine) -> None:
    machine.has("make", f'echo "seen ${{GOALPOST_TEST_SEED-nothing}}" >> {machine.calls}')
    machine.run(GOALPOST_TEST_SEED="17")

    assert "test ARGS=--promise-seed 17 --no-skips" in machine.asked("make")
    assert set(machine.asked("seen")) == {"nothing"}


def test_the_script_runs_nothing_again() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert not re.search(r"last-failed|--lf|reruns|--ff|\|\| *true|\|\| *make", script)


@pytest.mark.parametrize("path", _PROMISES)
def test_tests_of_promises_are_marked_and_take_chance_from_the_one_seed_only(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")

    assert "pytestmark = pytest.mark.promise" in text
    assert not _OWN_CHANCE.search(text)


def test_no_test_of_real_parts_draws_a_seed_of_its_own() -> None:
    """The next test of a promise takes the fixture, too."""
    strays = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for folder in ("e2e", "integration", "churn", "faults")
        for path in sorted((ROOT / "tests" / folder).rglob("*.py"))
        if path.name != "__main__.py"
        for found in _OWN_CHANCE.finditer(path.read_text("utf-8"))
    ]
    assert strays == []


SAMPLE: Final = """
import pytest
from pathlib import Path

@pytest.mark.promise
def test_seed(promise_seed):
    with Path(__file__).with_name("seen").open("a") as file:
        file.write(f"{promise_seed}\\n")
    assert False

def test_missing_tool():
    pytest.skip("a tool is not here")

@pytest.mark.skipif(True, reason="another platform")
def test_platform():
    pass
"""


def _pytest(folder: Path, *options: str, **environ: str) -> str:
    (folder / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.promises",
        "-o",
        "markers=promise",
        "--rootdir",
        str(folder),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GOALPOST"))}
    done = subprocess.run(
        [
            *command,
            "--rootdir",
            str(folder),
            "-c",
            "/dev/null",
            "-o",
            f"cache_dir={folder}/cache",
            str(folder / "test_sample.py"),
            *options,
        ],
        cwd=ROOT,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def _seen(folder: Path) -> list[str]:
    return (folder / "seen").read_text(encoding="utf-8").split()


def test_the_seed_is_said_at_the_beginning_and_where_a_promise_breaks(tmp_path: Path) -> None:
    said = _pytest(tmp_path, "--promise-seed", "42")

    assert "promises: --promise-seed 42" in said
    assert "play it again with --promise-seed 42" in said
    assert _seen(tmp_path) == ["42"]


def test_a_rerun_of_what_failed_uses_the_same_seed(tmp_path: Path) -> None:
    _pytest(tmp_path)
    _pytest(tmp_path, "--last-failed")

    first, again = _seen(tmp_path)
    assert first == again


def test_worker_processes_have_the_seed_of_the_run(tmp_path: Path) -> None:
    _pytest(tmp_path, "-n", "2", GOALPOST_TEST_SEED="7")

    assert _seen(tmp_path) == ["7"]


def test_runs_that_name_no_seed_have_different_ones(tmp_path: Path) -> None:
    _pytest(tmp_path)
    _pytest(tmp_path)

    assert len(set(_seen(tmp_path))) == 2


def test_a_missing_tool_is_a_failure_where_nothing_may_be_left_out(tmp_path: Path) -> None:
    assert "1 failed, 2 skipped" in _pytest(tmp_path)
    assert "2 failed, 1 skipped" in _pytest(tmp_path, "--no-skips")
