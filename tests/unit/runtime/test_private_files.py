"""What lies on disk is its owner's alone, also where an earlier version, or another umask, has made it."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.private_files import make_private


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_rights_of_others_are_taken_off_everything_that_is_there(tmp_path: Path) -> None:
    folder, file, program = tmp_path / "a", tmp_path / "a" / "file", tmp_path / "a" / "program"
    folder.mkdir(mode=0o755)
    file.touch(mode=0o644)
    program.touch(mode=0o755)
    outside = tmp_path.parent / "outside"
    outside.touch(mode=0o644)
    (folder / "link").symlink_to(outside)
    (folder / "nowhere").symlink_to(tmp_path / "missing")

    make_private(tmp_path)

    assert (_mode(folder), _mode(file), _mode(program)) == (0o700, 0o600, 0o700)
    assert _mode(outside) == 0o644


def test_what_a_process_makes_after_that_and_what_its_children_make_is_private(tmp_path: Path) -> None:
    code = (
        "import pathlib, subprocess, sys; from runtime.private_files import keep_private; keep_private();"
        "pathlib.Path('folder').mkdir(); pathlib.Path('folder/own').touch();"
        "subprocess.run([sys.executable, '-c', 'open(\"folder/child\", \"w\")'], check=True)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(root)}, check=True)

    assert [_mode(path) for path in (tmp_path / "folder", tmp_path / "folder/own", tmp_path / "folder/child")] == [
        0o700,
        0o600,
        0o600,
    ]


@pytest.mark.parametrize("module", ["producers/__main__.py", "streams/__main__.py", "sandbox/commands.py"])
def test_whoever_writes_to_disk_says_so_before_it_does_anything(module: str) -> None:
    assert "    keep_private()" in (Path(__file__).parents[3] / module).read_text(encoding="utf-8")
