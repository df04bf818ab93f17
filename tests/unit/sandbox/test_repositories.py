"""Where downloads come from on a machine that is configured to use a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import repositories

SETTINGS = """\
<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">
  <mirrors>
    <mirror><id>a</id><mirrorOf>{pattern}</mirrorOf><url>https://mirror.example/maven/</url></mirror>
  </mirrors>
</settings>
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    (tmp_path / ".m2").mkdir()
    return tmp_path


@pytest.mark.parametrize("pattern", ["central", "*", "external:*", "snapshots,central"])
def test_a_mirror_of_central_comes_first(home: Path, pattern: str) -> None:
    (home / ".m2" / "settings.xml").write_text(SETTINGS.format(pattern=pattern))
    first, *rest = repositories.addresses(home)
    assert first == "https://mirror.example/maven"
    assert rest, "Maven Central itself is the last resort"


@pytest.mark.parametrize("pattern", ["snapshots", "*,!central", ""])
def test_a_mirror_of_something_else_is_not_asked(home: Path, pattern: str) -> None:
    (home / ".m2" / "settings.xml").write_text(SETTINGS.format(pattern=pattern))
    assert "https://mirror.example/maven" not in repositories.addresses(home)


def test_jgos_own_configuration_is_heard(home: Path) -> None:
    (home / "jgo.conf").write_text("[repositories]\ninhouse = https://inhouse.example/maven\n")
    assert repositories.addresses(home)[0] == "https://inhouse.example/maven"


def test_without_any_configuration_there_is_maven_central(home: Path) -> None:
    assert len(repositories.addresses(home)) == 1
