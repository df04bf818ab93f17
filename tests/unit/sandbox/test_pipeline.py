"""What a pipeline refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.settings import BadSettings
from sandbox.pipeline import Pipeline


def test_wrong_settings_are_listed_before_anything_is_started(tmp_path: Path) -> None:
    wrong = {
        "METRIKA_COUNTER_ID": "my counter",
        "GOALPOST_PARTITIONS": "many",
        "GOALPOST_WEBHOK_PORT": "80",
        "DATABASE_URL": "mysql://localhost",
        "GOALPOST_LOG_LEVEL": "",
    }
    home = tmp_path / "home"

    with pytest.raises(BadSettings) as raised:
        Pipeline(home, environ=wrong, report=print).start()

    assert {problem.split(":")[0] for problem in raised.value.problems} == set(wrong) - {"GOALPOST_LOG_LEVEL"}
    assert not home.exists()
